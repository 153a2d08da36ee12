"""Replace W (out x in) by the Kronecker product A ⊗ B that is nearest to it, in the Frobenius norm.

A is of `shape` (2x2, 4x4 or 8x8), or as near to it as divides the matrix: B is then of (out / p) x (in / q). Van Loan's
construction: with the blocks of W as the rows of a matrix R, ‖W - A ⊗ B‖ = ‖R - vec(A) vec(B)ᵀ‖, whose best is the
first singular pair of R.

Van Loan & Pitsianis 1993, "Approximation with Kronecker Products"; in BERT: Tahaei et al. 2021, "KroneckerBERT",
arXiv:2109.06243 (with distillation of every layer on Wikipedia first). Departure: of `all`, `ffn` and `attention`,
`scope` is the feed-forwards by default: attentions stay whole.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.factored.linears import KroneckerLinear
from autocompress.models.families.anatomy import anatomy
from autocompress.models.surgery import features, plain_products, replace, weight_OI
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Kronecker(Method):
    """Many times fewer bytes of what it replaces; a large loss at once, so distil long."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    shape: Annotated[Literal["2x2", "4x4", "8x8"], Choice(("2x2", "4x4", "8x8"))] = "2x2"
    scope: Annotated[Literal["all", "ffn", "attention"], Choice(("all", "ffn"))] = "ffn"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        paths = anatomy(model).paths(self.scope)
        done = 0
        for path in paths:
            if (layer := plain_products(model).get(path)) is None:
                continue
            made = nearest(layer, (fitting(features(layer)[1], self.shape), fitting(features(layer)[0], self.shape)))
            if sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in layer.parameters()):
                replace(model, path, made)
                done += 1
        if not done:
            raise NotApplicable(f"no plain matrix in scope {self.scope!r} has a smaller Kronecker product")
        return model


def fitting(size: int, shape: str) -> int:
    """The largest divisor of `size` that is no more than the shape's."""
    return max(d for d in range(1, int(shape.split("x")[0]) + 1) if size % d == 0)


def nearest(layer: nn.Module, left: tuple[int, int]) -> KroneckerLinear:
    """A ⊗ B with A of `left`."""
    W_OI, (I, O), (P, Q) = weight_OI(layer), features(layer), left
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    made = KroneckerLinear(I, O, left, bias=bias is not None)
    R = W_OI.reshape(P, O // P, Q, I // Q).permute(0, 2, 1, 3).reshape(P * Q, -1)
    U, S, Vh = torch.linalg.svd(R, full_matrices=False)
    made.left.copy_((U[:, 0] * S[0].sqrt()).reshape(P, Q))
    made.right.copy_((Vh[0] * S[0].sqrt()).reshape(O // P, I // Q))
    if bias is not None and made.bias is not None:
        made.bias.copy_(bias)
    return made
