"""Replace matrices by tensor trains.

W[o1···od, i1···id] = G1[o1, i1] G2[o2, i2] ··· Gd[od, id], the cores of rank `rank`.

`scope`: the table of token embeddings (`embedding`), the products of the layers (`layers`), or `all`. `factors` says
into how many cores; rows of the table are filled up to a product of near equal factors. The cores come from d - 1
truncated SVDs (TT-SVD), whose error is at most the root of the sum of what each drops, squared.

Oseledets 2011, "Tensor-Train Decomposition"; layers: Novikov et al. 2015, arXiv:1509.06569; embeddings: Khrulkov et al.
2019, arXiv:1901.10787 (ranks of 16 to 192, trained so from the start). Departure: from a trained matrix, then
fine-tuned.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.sparsity import layers_of
from autocompress.models.factored.linears import TensorTrainLinear
from autocompress.models.factored.tables import TensorTrainEmbedding
from autocompress.models.factored.trains import factors_of, train_of
from autocompress.models.surgery import features, plain_table, replace_table, weight_OI
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage


class TensorTrain(Method):
    """The smallest embedding tables there are; a row costs two thin products. Loses much at once: train after it."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    rank: Annotated[int, Field(ge=1, le=1024), Range(16, 128, log=True)] = 32
    factors: Annotated[Literal[2, 3], Choice((2, 3))] = 2
    scope: Annotated[Literal["embedding", "layers", "all"], Choice(("embedding", "layers"))] = "embedding"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        done = 0
        if self.scope != "layers":
            done += self._table(model)
        if self.scope != "embedding":
            for path, layer in layers_of(model, plain=True).items():
                done += self._layer(model, path, layer)
        if not done:
            raise NotApplicable(f"nothing in scope {self.scope!r} is smaller as a train of rank {self.rank}")
        return model

    def _table(self, model: nn.Module) -> bool:
        paths, table, mapped = plain_table(model)
        if mapped:
            raise NotApplicable("tensor_train needs the table whole: let vocabulary be cut in another recipe")
        rows, width = table.weight.shape
        outs, ins = factors_of(rows, self.factors, up=True), factors_of(width, self.factors)
        filled = torch.zeros(math.prod(outs), width)
        filled[:rows] = table.weight
        cores = train_of(filled, outs, ins, self.rank)
        made = TensorTrainEmbedding(rows, outs, ins, [core.shape[-1] for core in cores[:-1]])
        return _put(model, paths, made, cores, rows * width)

    def _layer(self, model: nn.Module, path: str, layer: nn.Module) -> bool:
        I, O = features(layer)
        outs, ins = factors_of(O, self.factors), factors_of(I, self.factors)
        cores = train_of(weight_OI(layer), outs, ins, self.rank)
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        made = TensorTrainLinear(outs, ins, [core.shape[-1] for core in cores[:-1]], bias=bias is not None)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)
        return _put(model, [path], made, cores, O * I)


def _put(
    model: nn.Module,
    paths: list[str],
    made: TensorTrainEmbedding | TensorTrainLinear,
    cores: list[Tensor],
    numbers: int,
) -> bool:
    """Whether the train is smaller, and stands there now."""
    if sum(core.numel() for core in cores) >= numbers:
        return False
    for own, core in zip(made.train_of.cores, cores, strict=True):
        own.copy_(core)
    replace_table(model, paths, made)
    return True
