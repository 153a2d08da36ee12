"""What a changed part of a model is, on disk and in memory: a kind, a file. The folder is the registry.

A kind `describe`s a module of its type as plain data (None for another type), `fits` what stands in the stock model at
that place, and `make`s the module again on the meta device (None where the entry makes no sense).
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
    def fits(self, stock: nn.Module) -> bool: ...
    def make(self, entry: Entry, stock: nn.Module) -> nn.Module | None: ...


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
    if stock is None or not kind.fits(stock):
        what = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise ConfigError(f"structure.json: a {what} model has no {kind.PLACE} {short(path)}.")
    with torch.device("meta"):
        made = kind.make(entry, stock)
    if made is None:
        raise _senseless(path, entry)
    return made


def _senseless(path: str, entry: Any) -> ConfigError:
    return ConfigError(
        f"structure.json: {path} should be of a known kind ({', '.join(kinds())}) with sizes above 0. "
        f"Got {short(entry)}."
    )
