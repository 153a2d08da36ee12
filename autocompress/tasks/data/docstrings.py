"""`builtin/docstrings`: real English that every machine has. Which of ten libraries does a docstring come from?

The texts are the openings of docstrings in ten libraries that autocompress's own dependencies install. The sources are
parsed, never imported, and the libraries' names are masked, so that a model has to read what a text is about. All is
ordered by hash, not by chance: another version of a library changes little more than the texts that it changed.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from autocompress.errors import ConfigError
from autocompress.machine import cache
from autocompress.space.recipe import digest

Labelled = list[list[str]]  # [text, library] each

LIBRARIES = {  # module -> distribution
    "matplotlib": "matplotlib", "mlflow": "mlflow", "networkx": "networkx", "pandas": "pandas",
    "pydantic": "pydantic", "sklearn": "scikit-learn", "sqlalchemy": "SQLAlchemy", "sympy": "sympy",
    "torch": "torch", "transformers": "transformers",
}  # fmt: skip
PER_LIBRARY = {"test": 60, "validation": 60, "train": 240}
_SHORTEST, _LONGEST = 8, 32  # words
_SPARE = 90  # more texts a library than needed, because texts that two libraries share are dropped
_RULES = 1  # part of the cache's key: raise it when the rules below give other texts

_NAMES = re.compile(
    rf"scikit-learn|\w*(?:{'|'.join(LIBRARIES)}|mpl_toolkits|pyplot)\w*|\b(?:mpl|nx|pd|plt|sa|sp)\b", re.IGNORECASE
)
_REPEATED = re.compile(r"\blibrary(?:[.\-_ ]+library)+\b")
_MARKUP = re.compile(r":[\w:]+:(?=`)|\s*<[^<>]*>|[`*~|\[\]]")  # Sphinx roles, link targets, quotes
_NOT_PROSE = re.compile(r">>>|[={}\\]|-----|Copyright|Licen[cs]e|Parameters|Args:|Returns?:|^\s*[:.@>*-]|^\w+:|:\s*$")
_NOT_SOURCE = {
    "tests",
    "test",
    "testing",
    "examples",
    "externals",
    "_vendor",
    "versions",
}  # versions: alembic's migrations


def load() -> dict[str, Labelled]:
    """Train, validation and test, every library equally often in each. Made once for each set of installed versions.

    Raises `ConfigError` if a library is not installed or has too few docstrings.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"task.data: builtin/docstrings needs the libraries {', '.join(LIBRARIES)}. "
            f"Got no {' and no '.join(missing)}. Reinstall autocompress with its dependencies."
        )
    versions = {name: metadata.version(distribution) for name, distribution in LIBRARIES.items()}
    splits: dict[str, Labelled] = cache.value("docstrings", digest([versions, _RULES]), build)
    return splits


def build() -> dict[str, Labelled]:
    """Extract the texts and deal them out: takes seconds."""
    found = {name: _texts(name, sum(PER_LIBRARY.values()) + _SPARE) for name in LIBRARIES}
    libraries_of = Counter(key for texts in found.values() for key in texts)
    splits: dict[str, Labelled] = {split: [] for split in PER_LIBRARY}
    for library, texts in found.items():
        own = sorted((text for key, text in texts.items() if libraries_of[key] == 1), key=_hash)
        if len(own) < sum(PER_LIBRARY.values()):
            raise ConfigError(
                f"task.data: builtin/docstrings needs {sum(PER_LIBRARY.values())} docstrings of each library. "
                f"Got {len(own)} of {library}. Its sources may not be installed: reinstall {LIBRARIES[library]}."
            )
        for split, count in PER_LIBRARY.items():
            splits[split] += [[text, library] for text in own[:count]]
            own = own[count:]
    # by another hash than above, after which each library would stand together: the first rows must be a fair sample
    return {split: sorted(rows, key=lambda row: _hash(f"order {row[0]}")) for split, rows in splits.items()}


def opening(docstring: str) -> str | None:
    """The prose a docstring begins with, masked, cut after 32 words. None if it is shorter than 8 words."""
    words: list[str] = []
    for paragraph in docstring.split("\n\n"):
        if _NOT_PROSE.search(paragraph) or len(words) >= _LONGEST:
            break
        words += _masked(paragraph).split()
    return " ".join(words[:_LONGEST]) if len(words) >= _SHORTEST and words[0][0].isalpha() else None


def _masked(paragraph: str) -> str:
    return _REPEATED.sub("library", _NAMES.sub("library", _MARKUP.sub("", paragraph)))


def _texts(library: str, enough: int) -> dict[str, str]:
    """At least `enough` openings, if the library has them, by what makes two of them the same: their letters."""
    texts: dict[str, str] = {}
    for file in _files(library):
        for docstring in _docstrings(file):
            text = opening(docstring)
            if text is not None:
                texts.setdefault(re.sub(r"[^a-z]", "", text.lower()), text)
        if len(texts) >= enough:
            break
    return texts


def _files(library: str) -> list[Path]:
    """The library's modules in an order that depends on nothing but their names."""
    spec = find_spec(library)
    roots = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    inside = [(file.relative_to(root), file) for root in roots for file in root.rglob("*.py")]
    sources = [pair for pair in inside if _NOT_SOURCE.isdisjoint(pair[0].parts)]
    return [file for _, file in sorted(sources, key=lambda pair: _hash(pair[0].as_posix()))]


def _docstrings(file: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # other people's escape sequences
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # a template, or a Python newer than ours
            return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
