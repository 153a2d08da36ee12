"""A pair of thin linear layers in the place of one, plain or transposed."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.factored.linears import LowRankLinear
from autocompress.models.surgery import holds_transposed

PLACE = "linear layer"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, LowRankLinear):
        return None
    shape = {"in": module.in_features, "out": module.out_features, "rank": module.rank}
    return {**shape, "bias": module.up.bias is not None}


def fits(stock: nn.Module) -> bool:
    return isinstance(stock, nn.Linear) or holds_transposed(stock)


def make(entry: dict[str, Any], stock: nn.Module) -> nn.Module | None:
    match entry:
        case {"in": int(i), "out": int(o), "rank": int(r), "bias": bool(bias)} if min(i, o, r) > 0:
            return LowRankLinear(i, o, r, bias=bias)
    return None
