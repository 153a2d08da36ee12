"""What a changed part of a model is, on disk and in memory: a kind, a file. The folder is the registry.

A kind `describe`s a module of its type as plain data (None for another type), `fits` what stands in the stock model at
that place (None: nothing does, and the kind is of parts that are added), and `make`s the module again on the meta
device (None where the entry makes no sense). One that does nothing by standing there has an `attach(model, path)`.
"""

from __future__ import annotations

import importlib
from functools import cache
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import torch
from torch import nn

from autocompress.errors import ConfigError, short

Entry = dict[str, Any]


class Kind(Protocol):
    """A module of this folder. `PLACE`: what it stands for in a stock model, in a word."""

    PLACE: str

    def describe(self, module: nn.Module) -> Entry | None: ...
    def fits(self, stock: nn.Module | None) -> bool: ...
    def make(self, entry: Entry, stock: nn.Module | None) -> nn.Module | None: ...


def kinds() -> dict[str, Kind]:
    """Every kind there is, by name."""
    return _in_folders(tuple(__path__))


@cache
def _in_folders(folders: tuple[str, ...]) -> dict[str, Kind]:
    found = sorted(module.name for module in iter_modules(folders))
    return {name: cast(Kind, importlib.import_module(f"{__name__}.{name}")) for name in found}


def describe(module: nn.Module | None) -> Entry | None:
    """What structure.json says of a module; None where no kind has a word for it."""
    for name, kind in kinds().items():
        if module is not None and (entry := kind.describe(module)) is not None:
            return {"kind": name, **entry}
    return None


def make(model: nn.Module, path: str, entry: Any) -> nn.Module:
    """The module that an entry describes, to stand at `path` of a stock model. Its parameters hold nothing yet."""
    kind = kinds().get(str(entry.get("kind"))) if isinstance(entry, dict) else None
    if kind is None:
        raise _senseless(path, entry)
    stock = dict(model.named_modules(remove_duplicate=False)).get(path)
    if not kind.fits(stock):
        what = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise ConfigError(f"structure.json: a {what} model has no {kind.PLACE} {short(path)}.")
    with torch.device("meta"):
        made = kind.make(entry, stock)
    if made is None:
        raise _senseless(path, entry)
    return made


def attach(model: nn.Module, entries: dict[str, Entry]) -> None:
    """Let those parts do their work that do nothing by standing in their place."""
    known = kinds()
    for path, entry in entries.items():
        if hooked := getattr(known[entry["kind"]], "attach", None):
            hooked(model, path)


def added(entry: Entry) -> bool:
    """Whether it is of a kind whose parts stand where a stock model has nothing."""
    return kinds()[entry["kind"]].fits(None)


def _senseless(path: str, entry: Any) -> ConfigError:
    return ConfigError(
        f"structure.json: {path} should be of a known kind ({', '.join(kinds())}) with sizes above 0. "
        f"Got {short(entry)}."
    )
