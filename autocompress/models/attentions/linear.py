"""φ(q) (φ(k)ᵀ v), normalised: no pair of tokens is looked at (linear Transformer).

Katharopoulos et al. 2020, arXiv:2006.16236. `taylor`: 1 + q·k + (q·k)² / 2, the exponential's first terms
(Keles et al. 2022, arXiv:2209.04881).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.models.attentions.pattern import Pattern, in_blocks

FEATURES = ("elu", "relu", "taylor")
_CHUNK = 64  # tokens of a decoder whose pairs are looked at; before them, sums


class LinearPattern(Pattern):
    """`features`: φ, by name."""

    name = "linear"
    causal = True
    pairs = False
    fields = ("features",)

    def __init__(self, features: str) -> None:
        super().__init__(features=features)
        self.features = features

    @classmethod
    def legal(cls, knobs: dict[str, Any]) -> bool:
        return knobs.get("features") in FEATURES

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen_BT: Tensor, scale: float, causal: bool) -> Tensor:
        q, k = self._mapped(q * scale**0.5), self._mapped(k * scale**0.5)
        seen = seen_BT[:, None, :, None]
        k = k * seen
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)  # the last column adds the weights up
        sums = self._causal(q, k, v) if causal else q @ (k.transpose(-1, -2) @ v)
        return sums[..., :-1] / sums[..., -1:].clamp_min(1e-6)

    def _mapped(self, x: Tensor) -> Tensor:
        if self.features == "elu":
            return F.elu(x) + 1
        if self.features == "relu":
            return F.relu(x) + 1e-3
        pairs = (x[..., :, None] * x[..., None, :]).flatten(-2) * 0.5**0.5
        return torch.cat([torch.ones_like(x[..., :1]), x, pairs], -1)

    def _causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Chunk by chunk: pairs within a chunk, and the sums of all chunks before it."""
        tokens = q.shape[2]
        q_C, k_C, v_C = (in_blocks(x, _CHUNK) for x in (q, k, v))
        within = (q_C @ k_C.transpose(-1, -2)).tril() @ v_C
        sums = k_C.transpose(-1, -2) @ v_C
        before = sums.cumsum(2) - sums
        return (within + q_C @ before).flatten(2, 3)[:, :, :tokens]


PATTERN = LinearPattern
