"""A tensor train in the place of a linear layer, plain or transposed, or of an embedding table."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.factored.linears import TensorTrainLinear
from autocompress.models.factored.tables import TensorTrainEmbedding
from autocompress.models.surgery import holds_transposed

PLACE = "linear layer or embedding table"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, TensorTrainLinear | TensorTrainEmbedding):
        return None
    train = module.train_of
    sizes = {"outs": list(train.outs), "ins": list(train.ins), "ranks": list(train.ranks)}
    if isinstance(module, TensorTrainEmbedding):
        return {**sizes, "ids": module.num_embeddings}
    return {**sizes, "bias": module.bias is not None}


def fits(stock: nn.Module | None) -> bool:
    return isinstance(stock, nn.Linear | nn.Embedding) or (stock is not None and holds_transposed(stock))


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    outs, ins, ranks = (_sizes(entry.get(name)) for name in ("outs", "ins", "ranks"))
    if not len(outs) == len(ins) == len(ranks) + 1:
        return None
    match entry:
        case {"ids": int(ids)} if ids > 0 and isinstance(stock, nn.Embedding):
            return TensorTrainEmbedding(ids, outs, ins, ranks)
        case {"bias": bool(bias)}:
            return TensorTrainLinear(outs, ins, ranks, bias=bias)
    return None


def _sizes(values: Any) -> list[int]:
    """The values, if they are sizes."""
    good = isinstance(values, list) and all(isinstance(size, int) and 0 < size < 2**31 for size in values)
    return values if good else []
