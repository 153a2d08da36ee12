"""A linear layer of another shape than the stock one's."""

from __future__ import annotations

from typing import Any

from torch import nn

PLACE = "linear layer"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, nn.Linear):
        return None
    return {"in": module.in_features, "out": module.out_features, "bias": module.bias is not None}


def fits(stock: nn.Module) -> bool:
    return isinstance(stock, nn.Linear)


def make(entry: dict[str, Any], stock: nn.Module) -> nn.Module | None:
    match entry:
        case {"in": int(i), "out": int(o), "bias": bool(bias)} if min(i, o) > 0:
            return nn.Linear(i, o, bias=bias)
    return None
