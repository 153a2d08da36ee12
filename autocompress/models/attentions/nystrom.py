"""Attention by way of a few landmarks, the means of neighbouring tokens (Nyströmformer).

softmax(q k̃ᵀ) · pinv(softmax(q̃ k̃ᵀ)) · softmax(q̃ kᵀ) v, the inverse by six steps of an iteration.
Xiong et al. 2021, arXiv:2102.03902, without its convolution of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.models.attentions.pattern import HIDDEN, Pattern

_STEPS = 6


class NystromPattern(Pattern):
    """`landmarks`: how many. Texts of no more tokens are attended to in full."""

    name = "nystrom"
    causal = False
    pairs = False
    fields = ("landmarks",)

    def __init__(self, landmarks: int) -> None:
        super().__init__(landmarks=landmarks)
        self.landmarks = landmarks

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen_BT: Tensor, scale: float, causal: bool) -> Tensor:
        q, hidden = q * scale, (1 - seen_BT)[:, None, None] * HIDDEN
        q_M, read_M = self._means(q, seen_BT)
        k_M, _ = self._means(k, seen_BT)
        empty = (1 - read_M) * HIDDEN  # landmarks of padding alone
        to_landmarks = (q @ k_M.transpose(-1, -2) + empty).softmax(-1)
        between = (q_M @ k_M.transpose(-1, -2) + empty).softmax(-1)
        from_landmarks = (q_M @ k.transpose(-1, -2) + hidden).softmax(-1) @ v
        return to_landmarks @ (inverse(between) @ from_landmarks)

    def _means(self, x: Tensor, seen_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of each of M runs of tokens (B, H, M, K), and 1 for runs that hold any: (B, 1, 1, M)."""
        run = (x.shape[2] + self.landmarks - 1) // self.landmarks
        place = torch.arange(x.shape[2], device=x.device) // run
        member = (place[None] == torch.arange(self.landmarks, device=x.device)[:, None]).to(x.dtype)  # (M, T)
        member_BMT = member[None] * seen_BT[:, None]
        counts = member_BMT.sum(-1)
        means = member_BMT[:, None] @ x / counts.clamp_min(1)[:, None, :, None]
        return means, (counts > 0).to(x.dtype)[:, None, None]


def inverse(A: Tensor) -> Tensor:
    """The pseudo-inverse of (..., M, M) by Razavi et al.'s iteration of the third order."""
    eye = torch.eye(A.shape[-1], device=A.device, dtype=A.dtype)
    largest = A.sum(-2).amax(-1) * A.sum(-1).amax(-1)
    Z = A.transpose(-1, -2) / largest[..., None, None]
    for _ in range(_STEPS):
        AZ = A @ Z
        Z = 0.25 * Z @ (13 * eye - AZ @ (15 * eye - AZ @ (7 * eye - AZ)))
    return Z


PATTERN = NystromPattern
