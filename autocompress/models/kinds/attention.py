"""A pattern of attention that a stock attention does not have: what is attended to, and how it is added up."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models import attentions
from autocompress.models.attentions.pattern import Pattern

PLACE = "pattern"


def describe(module: nn.Module) -> dict[str, Any] | None:
    return {"pattern": module.name, **module.knobs} if isinstance(module, Pattern) else None


def fits(stock: nn.Module | None) -> bool:
    return stock is None


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    return attentions.make({name: value for name, value in entry.items() if name != "kind"})


def attach(model: nn.Module, path: str) -> None:
    attentions.switch_on(model)
