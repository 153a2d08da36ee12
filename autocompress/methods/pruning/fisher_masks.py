"""Cut heads and neurons without any training: which ones by the Fisher information of a mask, then the rest is tuned.

1. Search. A unit's mask m = 1 matters by Σ_x (∂L_x/∂m)², the diagonal of the empirical Fisher matrix; the units with
   the most for their multiply-adds stay, over all layers, until `keep` is spent.
2. Rearrange. In each layer units are exchanged one by one as long as the layer's block of the Fisher matrix says that
   the loss falls, (1 - m)ᵀ F (1 - m).
3. Tune. Layer by layer the masks that stay become the numbers with which the layer's output comes nearest to the uncut
   model's, a least squares problem with ridge, and are multiplied into the weights.

Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", arXiv:2204.09656 (2,048 texts, 3 minutes;
masks kept between -10 and 10). Departures: neurons go in eights; one head of every layer stays; masks are kept in [0,
2].

A rehearsal takes as many units of every layer. Memory: what the calibration texts give a layer, its products, and the
cut layers beside the uncut ones, a little more than the model.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.mask_tuning import tune
from autocompress.methods.unit_gradients import unit_gradients
from autocompress.methods.units import chosen, cut, evenly, sites
from autocompress.models.surgery import best
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage

_EXCHANGES = 32  # units of one layer


class FisherMasks(Method):
    """The cheapest real cut: seconds, and no finetune, though one after it wins back more."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")
    estimated: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.4, 0.9), Neutral(1)] = 0.6
    tuning: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = sites(model)
        if ctx.train is None:
            return cut(model, evenly(found, self.keep))
        gradients = unit_gradients(model, found, ctx)
        kept = chosen({site: g_NU.square().sum(0) for site, g_NU in gradients.items()}, self.keep)
        kept = {site: rearranged(kept[site], gradients[site]) for site in found}
        if self.tuning:
            tune(model, kept, ctx)
        return cut(model, kept)


def rearranged(kept: Tensor, g_NU: Tensor) -> Tensor:
    """As many units, exchanged one at a time while (1 - m)ᵀ F (1 - m) falls. F = Gᵀ G."""
    U = g_NU.shape[1]
    gone = torch.ones(U, dtype=torch.bool)
    gone[kept] = False
    for _ in range(_EXCHANGES):
        if not gone.any() or gone.all():
            break
        lost_N = g_NU[:, gone].sum(1)
        dot_U, own_U = g_NU.T @ lost_N, g_NU.square().sum(0)
        back, out = torch.where(gone)[0], torch.where(~gone)[0]
        change = (-2 * dot_U + own_U)[back][:, None] + (2 * dot_U + own_U)[out] - 2 * (g_NU[:, back].T @ g_NU[:, out])
        least = int(change.argmin())
        if float(change.flatten()[least]) >= -1e-9:
            break
        gone[back[least // len(out)]], gone[out[least % len(out)]] = False, True
    return best((~gone).float(), len(kept))
