"""`builtin/docstrings`: real English that every machine has. Which of ten libraries does a docstring come from?

The texts are the openings of docstrings in ten libraries that autocompress's own dependencies install. The sources are
parsed, never imported, and the libraries' names are masked, so that a model has to read what a text is about. All is
ordered by hash, not by chance: another version of a library changes little more than the texts that it changed.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import cast

from autocompress.errors import ConfigError
from autocompress.tasks.data import sources

Labelled = list[list[str]]  # [text, library] each

NAME = "builtin/docstrings"
PER_LIBRARY = {"test": 60, "validation": 60, "train": 240}
_SHORTEST, _LONGEST = 8, 32  # words
_SPARE = 90  # more texts a library than needed, because texts that two libraries share are dropped
_RULES = 1  # part of the cache's key: raise it when the rules below give other texts

_NAMES = re.compile(
    rf"scikit-learn|\w*(?:{'|'.join(sources.LIBRARIES)}|mpl_toolkits|pyplot)\w*|\b(?:mpl|nx|pd|plt|sa|sp)\b",
    re.IGNORECASE,
)
_REPEATED = re.compile(r"\blibrary(?:[.\-_ ]+library)+\b")
_MARKUP = re.compile(r":[\w:]+:(?=`)|\s*<[^<>]*>|[`*~|\[\]]")  # Sphinx roles, link targets, quotes
_NOT_PROSE = re.compile(r">>>|[={}\\]|-----|Copyright|Licen[cs]e|Parameters|Args:|Returns?:|^\s*[:.@>*-]|^\w+:|:\s*$")


def load() -> dict[str, Labelled]:
    """Train, validation and test, every library equally often in each. Made once for each set of installed versions.

    Raises `ConfigError` if a library is not installed or has too few docstrings.
    """
    return cast(dict[str, Labelled], sources.made_once(NAME, "docstrings", [_RULES], build))


def build() -> dict[str, Labelled]:
    """Extract the texts and deal them out: takes seconds."""
    found = {name: _texts(name, sum(PER_LIBRARY.values()) + _SPARE) for name in sources.LIBRARIES}
    libraries_of = Counter(key for texts in found.values() for key in texts)
    splits: dict[str, Labelled] = {split: [] for split in PER_LIBRARY}
    for library, texts in found.items():
        own = sorted((text for key, text in texts.items() if libraries_of[key] == 1), key=sources.hashed)
        if len(own) < sum(PER_LIBRARY.values()):
            raise ConfigError(
                f"task.data: builtin/docstrings needs {sum(PER_LIBRARY.values())} docstrings of each library. "
                f"Got {len(own)} of {library}. Its sources may not be installed: "
                f"reinstall {sources.LIBRARIES[library]}."
            )
        for split, count in PER_LIBRARY.items():
            splits[split] += [[text, library] for text in own[:count]]
            own = own[count:]
    # by another hash than above, after which each library would stand together: the first rows must be a fair sample
    return {split: sorted(rows, key=lambda row: sources.hashed(f"order {row[0]}")) for split, rows in splits.items()}


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
    for file in sources.files(library):
        for _, docstring in sources.documented(file):
            text = opening(docstring)
            if text is not None:
                texts.setdefault(re.sub(r"[^a-z]", "", text.lower()), text)
        if len(texts) >= enough:
            break
    return texts
