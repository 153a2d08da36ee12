"""A Kronecker product in the place of a linear layer, plain or transposed."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.factored.linears import KroneckerLinear
from autocompress.models.surgery import holds_transposed

PLACE = "linear layer"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, KroneckerLinear):
        return None
    shape = {"in": module.in_features, "out": module.out_features, "left": list(module.left_shape)}
    return {**shape, "bias": module.bias is not None}


def fits(stock: nn.Module | None) -> bool:
    return isinstance(stock, nn.Linear) or (stock is not None and holds_transposed(stock))


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    match entry:
        case {"in": int(i), "out": int(o), "left": [int(p), int(q)], "bias": bool(bias)} if min(i, o, p, q) > 0:
            return None if o % p or i % q else KroneckerLinear(i, o, (p, q), bias=bias)
    return None
