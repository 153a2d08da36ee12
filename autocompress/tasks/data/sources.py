"""The sources of ten libraries that autocompress's own dependencies install: real English that every machine has.

They are parsed, never imported. All is ordered by hash, not by chance: another version of a library changes little more
than the texts that it changed.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.machine import cache
from autocompress.space.recipe import digest

LIBRARIES = {  # module -> distribution
    "matplotlib": "matplotlib", "mlflow": "mlflow", "networkx": "networkx", "pandas": "pandas",
    "pydantic": "pydantic", "sklearn": "scikit-learn", "sqlalchemy": "SQLAlchemy", "sympy": "sympy",
    "torch": "torch", "transformers": "transformers",
}  # fmt: skip
_NOT_SOURCE = {"tests", "test", "testing", "examples", "externals", "_vendor", "versions"}  # versions: of databases


def made_once(data: str, kind: str, rules: list[Any], build: Callable[[], Any]) -> Any:
    """What `build` gives, for each set of installed versions and of rules, kept in the cache under `kind`.

    Raises `ConfigError`, which names the `data`, if a library is not installed.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"task.data: {data} needs the libraries {', '.join(LIBRARIES)}. "
            f"Got no {' and no '.join(missing)}. Reinstall autocompress with its dependencies."
        )
    versions = {name: metadata.version(distribution) for name, distribution in LIBRARIES.items()}
    return cache.value(kind, digest([versions, *rules]), build)


def files(library: str) -> list[Path]:
    """The library's modules in an order that depends on nothing but their names."""
    spec = find_spec(library)
    roots = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    inside = [(file.relative_to(root), file) for root in roots for file in root.rglob("*.py")]
    sources = [pair for pair in inside if _NOT_SOURCE.isdisjoint(pair[0].parts)]
    return [file for _, file in sorted(sources, key=lambda pair: hashed(pair[0].as_posix()))]


def documented(file: Path) -> Iterator[tuple[str, str]]:
    """The name of each class and function in a file, "" for the module itself, and its docstring, "" if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # other people's escape sequences
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # a template, or a Python newer than ours
            return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "name", ""), ast.get_docstring(node) or ""


def hashed(text: str) -> str:
    """What texts are ordered by."""
    return hashlib.sha256(text.encode()).hexdigest()
