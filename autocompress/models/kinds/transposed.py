"""The transposed linear layer of GPT-2 (`Conv1D`), of another shape than the stock one's."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.surgery import features, holds_transposed

PLACE = "transposed linear layer"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not holds_transposed(module):
        return None
    I, O = features(module)
    return {"in": I, "out": O}


def fits(stock: nn.Module) -> bool:
    return holds_transposed(stock)


def make(entry: dict[str, Any], stock: nn.Module) -> nn.Module | None:
    match entry:
        case {"in": int(i), "out": int(o)} if min(i, o) > 0:
            return type(stock)(o, i)
    return None
