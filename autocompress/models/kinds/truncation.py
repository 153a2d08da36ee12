"""Texts are read up to a length, whatever they are given as."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.truncation import Truncation, truncate

PLACE = "truncation"


def describe(module: nn.Module) -> dict[str, Any] | None:
    return {"tokens": module.tokens} if isinstance(module, Truncation) else None


def fits(stock: nn.Module | None) -> bool:
    return stock is None


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    match entry:
        case {"tokens": int(tokens)} if tokens > 0:
            return Truncation(tokens)
    return None


def attach(model: nn.Module, path: str) -> None:
    truncate(model)
