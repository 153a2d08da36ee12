"""Every token attends to its neighbours, and to the first tokens, which attend to all (Longformer).

Beltagy et al. 2020, arXiv:2004.05150.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.models.attentions.pattern import (
    Pattern,
    in_blocks,
    places,
    product_of_first,
    softmax_product,
    with_positions,
)
from autocompress.models.families.asking import Positions


class WindowPattern(Pattern):
    """`window` tokens to each side, and the first `first`. In blocks of the window's size, each with its neighbours."""

    name = "sliding_window"
    causal = True
    pairs = True
    fields = ("window", "first")

    def __init__(self, window: int, first: int) -> None:
        super().__init__(window=window, first=first)
        self.window, self.first = window, first

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, seen_BT: Tensor, scale: float, causal: bool,
        positions: Positions | None = None,
    ) -> Tensor:  # fmt: skip
        tokens, size, first = q.shape[2], max(1, self.window), self.first
        near = seen_BT if not first else seen_BT * (places(tokens, q) >= first).to(q.dtype)
        q_blocks = in_blocks(q * scale, size)
        k_near, v_near = (_with_neighbours(in_blocks(x, size)) for x in (k, v))
        allowed = _with_neighbours(in_blocks(near[:, None, :, None], size))[..., 0][:, :, :, None, :]
        own = places(q_blocks.shape[2], q)[:, None, None] * size + places(size, q)[:, None]  # (N, S, 1)
        around = own[:, :1] - size + places(3 * size, q)  # (N, 1, 3 S)
        scores = with_positions(q_blocks @ k_near.transpose(-1, -2), positions, own, around)
        allowed = (allowed * _band(size, causal, q)).expand_as(scores)
        if not first:
            return softmax_product(scores, allowed, v_near).flatten(2, 3)[:, :, :tokens]
        k_first, v_first = k[:, :, None, :first], v[:, :, None, :first].expand(-1, -1, q_blocks.shape[2], -1, -1)
        to_first = q_blocks @ k_first.transpose(-1, -2)
        sees = seen_BT[:, None, None, None, :first].expand_as(to_first)
        to_first = with_positions(to_first, positions, own, places(k_first.shape[3], q))
        scores, allowed = torch.cat([scores, to_first], -1), torch.cat([allowed, sees], -1)
        out = softmax_product(scores, allowed, torch.cat([v_near, v_first], -2)).flatten(2, 3)[:, :, :tokens]
        rows = product_of_first(first, (q * scale, k, v), seen_BT, causal, positions)
        return torch.cat([rows, out[:, :, first:]], 2)


def _with_neighbours(x_BHNSK: Tensor) -> Tensor:
    """Of every block the one before, itself, and the one after: (B, H, N, 3 S, K)."""
    none = torch.zeros_like(x_BHNSK[:, :, :1])
    around = torch.cat([none, x_BHNSK, none], 2)
    return torch.cat([around[:, :, :-2], x_BHNSK, around[:, :, 2:]], 3)


def _band(size: int, causal: bool, like: Tensor) -> Tensor:
    """Which of the 3 S keys lie within the window of each of S queries: (S, 3 S)."""
    own, other = torch.arange(size, device=like.device)[:, None] + size, torch.arange(3 * size, device=like.device)
    near = (own - other).abs() <= size
    return (near & (other <= own) if causal else near).to(like.dtype)


PATTERN = WindowPattern
