"""Set weights to zero by what the layer's answers lose by it, and let those that stay make up for it. At once.

Column by column, as GPTQ rounds: with H = X Xᵀ of the inputs that calibration texts give a layer, the weights of a
block of columns with the least w² / [H⁻¹]²_jj go, and the error is spread over the columns to come. `sparsity` of every
row, or with `n_m` (none, or 2:4) n of every m adjacent weights (then `sparsity` is not looked at).

Hassibi & Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; Frantar & Alistarh 2023,
"SparseGPT", arXiv:2301.00774; in BERT: Kurtic et al. 2022, "The Optimal BERT Surgeon", arXiv:2203.07259. Departure:
rows are pruned alike, and inputs are those of the model before any layer is pruned. Where magnitude would lose less on
the calibration texts, a layer is pruned by that. Memory: the new weights until all are found, and the second moments
of a group of layers, half as large together as the model.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.sparsity import layers_of, most_in_each
from autocompress.models.calibration import moments, observe, shares
from autocompress.models.surgery import weight_OI
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage

_BLOCK = 64  # columns whose zeros are chosen together


class Obs(Method):
    """As magnitude, with less loss at the same zeros, in seconds and without labels. Bytes of an archive."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    values_only: ClassVar[bool] = True

    sparsity: Annotated[float, Field(gt=0, lt=1), Range(0.3, 0.8)] = 0.5
    n_m: Annotated[Literal["none", "2:4"], Choice(("none", "2:4"))] = "none"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        layers = layers_of(model)
        pruned: dict[str, Tensor] = {}
        for share in shares(model, observe(model, layers, ctx.calibration, ctx.device)):
            known = moments(model, share, ctx.calibration, ctx.device)
            for path in share:
                pruned[path] = self.pruned(weight_OI(layers[path]), known[path].H_II)
        for path, W_OI in pruned.items():
            weight_OI(layers[path]).copy_(W_OI)
        return model

    def pruned(self, W_OI: Tensor, H_II: Tensor) -> Tensor:
        """The weight with its zeros; by magnitude, if that loses less."""
        kept, group = map(int, self.n_m.split(":")) if self.n_m != "none" else (0, 0)
        by_size = W_OI * self._mask(W_OI.abs(), kept, group)
        by_loss = self._surgeon(W_OI, H_II, kept, group)
        return min((by_loss, by_size), key=lambda Q_OI: lost(W_OI - Q_OI, H_II))

    def _mask(self, scores_OI: Tensor, kept: int, group: int) -> Tensor:
        """1 for what stays."""
        if group:
            return most_in_each(scores_OI, kept, group)
        stay = max(1, scores_OI.shape[1] - int(self.sparsity * scores_OI.shape[1]))
        return most_in_each(scores_OI, stay, scores_OI.shape[1])

    def _surgeon(self, W_OI: Tensor, H_II: Tensor, kept: int, group: int) -> Tensor:
        W_OI, I = W_OI.clone(), W_OI.shape[1]
        damped = H_II + torch.eye(I) * (0.01 * H_II.diagonal().mean() + 1e-8)
        U_II = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
        for start in range(0, I, _BLOCK):
            end = min(start + _BLOCK, I)
            scores_OB = (W_OI[:, start:end] / U_II.diagonal()[start:end]).square()
            mask_OB = self._mask(scores_OB, kept, group)
            error_OB = torch.zeros_like(mask_OB)
            for i in range(start, end):
                gone = W_OI[:, i] * (1 - mask_OB[:, i - start])
                error_OB[:, i - start] = gone / U_II[i, i]
                W_OI[:, i] -= gone
                W_OI[:, i + 1 : end] -= error_OB[:, i - start, None] * U_II[i, i + 1 : end]
            W_OI[:, end:] -= error_OB @ U_II[start:end, end:]
        return W_OI


def lost(D_OI: Tensor, H_II: Tensor) -> float:
    """‖DX‖² = tr(D X Xᵀ Dᵀ)."""
    return float(((D_OI @ H_II) * D_OI).sum())
