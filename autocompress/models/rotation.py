"""Make ready for rounding what lies between the factors of a low-rank pair: its basis is ours to choose.

U V = (U s Qᵀ) (Q s⁻¹ V) for every s and every orthogonal Q. First s gives each direction of the middle the same norm in
both factors, then a random Q spreads all of them over all coordinates: neither the factors nor what passes between them
have outliers then, which would take up the grid of a token or of a channel. It costs nothing when the model runs, and
nothing but rounded numbers differ.

Incoherence by random orthogonal matrices: Chee et al. 2023, "QuIP", arXiv:2307.13304; between a Transformer's products:
Ashkboos et al. 2024, "QuaRot", arXiv:2404.00456. Here no operator undoes the rotation, as the other factor absorbs it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from autocompress.models.factored.linears import LowRankLinear

_TINY = torch.finfo(torch.float32).tiny


@torch.no_grad()
def spread_pairs(model: nn.Module) -> None:
    """Give every low-rank pair in `model` a balanced and rotated middle, in place. What it computes stays the same."""
    for pair in [module for module in model.modules() if isinstance(module, LowRankLinear)]:
        if pair.down.weight.is_meta:  # a structure without numbers: nothing to turn, and nothing to remember below
            continue
        V_RI, U_OR = pair.down.weight.double(), pair.up.weight.double()
        s_R = (V_RI.norm(dim=1).clamp_min(_TINY) / U_OR.norm(dim=0).clamp_min(_TINY)).sqrt()
        Q_RR = orthogonal(pair.rank)
        pair.down.weight.copy_(Q_RR @ (V_RI / s_R[:, None]))
        pair.up.weight.copy_(U_OR * s_R @ Q_RR.T)


@lru_cache(maxsize=8)  # a model has few ranks, a search has many
def orthogonal(size: int) -> Tensor:
    """A random orthogonal matrix (size, size), the same at every call."""
    random = torch.Generator().manual_seed(size)
    Q_RR: Tensor = torch.linalg.qr(torch.randn(size, size, generator=random, dtype=torch.float64)).Q
    return Q_RR
