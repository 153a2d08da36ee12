"""Scale the units that stay so that every layer's output comes near to what it was with all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.units import Site
from autocompress.models.calibration import watch
from autocompress.models.factored.linears import LowRankLinear
from autocompress.models.surgery import features, product, weight_OI

_RIDGE = 1e-2
_LEAST, _MOST = 0.0, 2.0


@torch.no_grad()
def tune(model: nn.Module, kept: Mapping[Site, Tensor], ctx: Context) -> None:
    """Multiply into the weights that read each site's units the masks m of least ‖Y - Σ_u m_u y_u‖² + ridge ‖m - 1‖².

    y_u is what unit u adds to the output, Y what all add, over the tokens of the calibration texts.
    """
    for site, index in kept.items():
        out = product(model, site.out)
        if len(index) == site.units or isinstance(out, LowRankLinear):
            continue
        group, W_OI = features(out)[0] // site.units, weight_OI(out)
        H_II = torch.zeros(W_OI.shape[1], W_OI.shape[1])

        def look(path: str, x: Tensor, x_NI: Tensor, H_II: Tensor = H_II) -> None:
            H_II += x_NI.T @ x_NI

        watch(model, [site.out], ctx.calibration, look, ctx.device)
        # ⟨y_u, y_w⟩ over all tokens is the sum of the entries of block (u, w) of (WᵀW) ∘ (XᵀX)
        G_UU = (W_OI.T @ W_OI * H_II).reshape(site.units, group, site.units, group).sum((1, 3))
        m_K = solved(G_UU, index)
        scale = torch.ones(site.units)
        scale[index] = m_K
        W_OI.mul_(scale.repeat_interleave(group))


def solved(G_UU: Tensor, index: Tensor) -> Tensor:
    """The masks of the units in `index`: (G_KK + r I) m = G_K,all 1 + r 1."""
    G_KK, target_K = G_UU[index][:, index], G_UU[index].sum(1)
    ridge = _RIDGE * G_KK.diagonal().mean().clamp_min(1e-12)
    eye = torch.eye(len(index))
    m_K: Tensor = torch.linalg.solve(G_KK + ridge * eye, target_K + ridge)
    return m_K.clamp(_LEAST, _MOST)
