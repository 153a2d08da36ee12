"""Replace W (out x in) by the product U V of rank r: the truncated SVD, the nearest one in the Frobenius norm.

r = floor(keep · O · I / (O + I)), at least 1: `keep` is the share of the layer's weights that both factors have
together. `scope` is `all` linears of the layers, or only those of the feed-forwards (`ffn`) or of the attentions
(`attention`); never the pooler, the classifier or the embeddings. The singular values are split evenly, U = U_r √S_r
and V = √S_r V_rᵀ, so that both factors have one scale.

Eckart & Young 1936; for Transformers: Noach & Goldberg 2020, "Compressing Pre-trained Language Models by Matrix
Decomposition". Departure: the paper distils features afterwards; here a later step may.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.factored.linears import Factored, LowRankLinear, truncated_svd
from autocompress.models.families.anatomy import anatomy
from autocompress.models.surgery import features, product, replace, weight_OI
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class LowRank(Method):
    """Bytes at once; latency from about half of the weights down, as two thin products cost more than their flops."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes", "latency")

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75), Neutral(1)] = 0.5
    scope: Annotated[Literal["all", "ffn", "attention"], Choice(("all", "ffn"))] = "all"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        changed = 0
        for path in anatomy(model).paths(self.scope):
            whole = product(model, path)
            if not isinstance(whole, Factored) and (rank := rank_for(whole, self.keep)):
                replace(model, path, factorize(whole, rank))
                changed += 1
        if not changed:
            raise NotApplicable(f"no linear layer in scope {self.scope!r} has a smaller pair at keep={self.keep:g}")
        return model


def rank_for(whole: nn.Module, keep: float) -> int:
    """The rank whose factors have `keep` of the weights, or 0 if even rank 1 is no smaller."""
    I, O = features(whole)
    rank = max(1, int(keep * O * I / (O + I)))
    return rank if rank * (O + I) < O * I else 0


@torch.no_grad()
def factorize(whole: nn.Module, rank: int) -> LowRankLinear:
    """The pair whose product is the nearest of that rank to the weight of a plain product."""
    U_OR, V_RI = truncated_svd(weight_OI(whole), rank)
    bias: Tensor | None = whole.bias  # type: ignore[assignment]
    pair = LowRankLinear(*features(whole), rank, bias=bias is not None)
    pair.up.weight.copy_(U_OR)
    pair.down.weight.copy_(V_RI)
    if bias is not None:
        pair.up.bias.copy_(bias)
    return pair
