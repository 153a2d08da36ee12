"""A digest of code: of a function, class or constant and all of ours that it uses, wherever it lies.

It is taken of syntax trees without imports, docstrings and annotations, so neither a comment nor a moved file changes
it. What is reached through an object (`ctx.train`) is not followed: only names and attributes of modules are.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_BASE = ("autocompress.space.method", "Method")  # what every method inherits says nothing of any
_PASSED_OVER = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params", "type_ignores"}

Place = tuple[str, str]  # a module and a name in it; no name: the module itself


class _Module(NamedTuple):
    """A source file: what its top level defines, and what its imports stand for."""

    defined: dict[str, ast.stmt]
    imported: dict[str, Place]


def code_digest(module: str, *names: str) -> str:
    """16 hex digits that change when the code of these names of `module`, or code that it uses, changes.

    A name may be `Class.function`. Code counts if it is in this package, or in that of `module`. Raises `LookupError`
    if there is no such name.
    """
    written: dict[Place, str] = {}
    waiting: list[Place] = [(module, name) for name in names]
    while waiting:
        place = waiting.pop()
        if place not in written and place != _BASE:
            written[place], used = _written(*place)
            waiting += used
    return hashlib.sha256("\n".join(sorted(written.values())).encode()).hexdigest()[:16]


@cache
def _read(module: str) -> _Module | None:
    """None where there is no such module, or no source of it."""
    loaded, file = sys.modules.get(module), None
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
    elif _exists(module):
        spec = importlib.util.find_spec(module)
        file = spec and spec.origin
    if file is None or not file.endswith(".py"):
        return None
    tree = ast.parse(Path(file).read_text("utf-8"))
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    defined = {name: node for node in tree.body for name in _names(node)}
    return _Module(defined, dict(_imports(tree, package)))


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


def _names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, Place]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    (alias.asname, (alias.name, "")) if alias.asname else ((top := alias.name.split(".")[0]), (top, ""))
                )
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(origin, package) if node.level else origin
            yield from ((alias.asname or alias.name, (origin, alias.name)) for alias in node.names)


def _resolve(place: Place) -> Place:
    """Where the thing is defined: an import of an import is followed, and a name may be a module in its package."""
    module, name = place
    source = _read(module) if name else None
    if source is None or name in source.defined:
        return place
    if name in source.imported and source.imported[name] != place:
        return _resolve(source.imported[name])
    return (f"{module}.{name}", "") if _exists(f"{module}.{name}") else place


def _written(module: str, name: str) -> tuple[str, list[Place]]:
    """A definition in text, and the places that it uses."""
    source = _read(module)
    outer, _, inner = name.partition(".")
    if source is None or outer not in source.defined:
        raise LookupError(f"{module} defines no {name!r}")
    node: ast.AST = source.defined[outer]
    if inner:
        node = next(part for part in ast.walk(node) if isinstance(part, ast.FunctionDef) and part.name == inner)
    used: list[Place] = []
    return _text(node, module, source, used), used


def _text(node: Any, module: str, source: _Module, used: list[Place]) -> str:
    """The same in every version of Python. What is ours goes by its own name, whatever it was imported as."""
    place = _place(node, module, source)
    if place is not None and place[1]:
        used.append(place)
        return place[1]
    if isinstance(node, list):
        kept = [part for part in node if not isinstance(part, ast.Import | ast.ImportFrom) and not _only_says(part)]
        return "[" + ",".join(_text(part, module, source, used) for part in kept) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in _PASSED_OVER}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    inside = [
        f"{name}={_text(value, module, source, used)}" for name, value in fields.items() if value not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(inside)})"


def _only_says(part: object) -> bool:
    """Whether it is a string that stands alone: what a field is called to hold."""
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)


def _place(node: Any, module: str, source: _Module) -> Place | None:
    """What a name, or an attribute of a module, stands for, if it stands for code that can be read."""
    match node:
        case ast.Name(id=name) if name in source.defined:
            return module, name
        case ast.Name(id=name) if name in source.imported and _is_ours(source.imported[name][0], module):
            return _readable(_resolve(source.imported[name]))
        case ast.Attribute(value=value, attr=name):
            owner = _place(value, module, source)
            return _readable(_resolve((owner[0], name))) if owner is not None and not owner[1] else None
    return None


def _is_ours(imported: str, module: str) -> bool:
    """Whether its code is followed from `module`. The versions of libraries stand for theirs."""
    return imported.split(".")[0] in ("autocompress", module.split(".")[0])


def _readable(place: Place) -> Place | None:
    module, name = place
    source = _read(module)
    return place if source is not None and (not name or name in source.defined) else None
