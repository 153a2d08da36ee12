"""Blocks of tokens attend to their neighbours, to the first blocks, and to a few that are drawn (BigBird).

Zaheer et al. 2020, arXiv:2007.14062.
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

_PRIMES = (7, 13, 29, 37, 53, 61, 79, 97)  # which blocks are drawn: i · prime + prime, modulo how many there are


class BlockPattern(Pattern):
    """Blocks of `block` tokens, the first `first` of which see and are seen by all, and `drawn` others for each."""

    name = "block_sparse"
    causal = True
    pairs = True
    fields = ("block", "first", "drawn")

    def __init__(self, block: int, first: int, drawn: int) -> None:
        super().__init__(block=block, first=first, drawn=drawn)
        self.block, self.first, self.drawn = block, first, drawn

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, seen_BT: Tensor, scale: float, causal: bool,
        positions: Positions | None = None,
    ) -> Tensor:  # fmt: skip
        tokens, size = q.shape[2], max(1, self.block)
        q_blocks, k_blocks, v_blocks = in_blocks(q * scale, size), in_blocks(k, size), in_blocks(v, size)
        seen_blocks = in_blocks(seen_BT[:, None, :, None], size)[..., 0]  # (B, 1, N, S)
        read_NR, fresh_NR = self._read(seen_blocks)
        k_read, v_read = (x[:, :, read_NR].flatten(3, 4) for x in (k_blocks, v_blocks))  # (B, H, N, R S, K)
        allowed = (seen_blocks[:, :, read_NR] * fresh_NR[..., None]).flatten(3, 4)
        within = places(size, q)
        keys = (read_NR[..., None] * size + within).flatten(1)[:, None]  # (N, 1, R S)
        queries = (read_NR[:, :1] * size + within)[..., None]  # (N, S, 1): a block reads itself first
        scores = with_positions(q_blocks @ k_read.transpose(-1, -2), positions, queries, keys)
        allowed = allowed[:, :, :, None, :].expand_as(scores)
        if causal:
            allowed = allowed * (keys <= queries).to(q.dtype)
        out = softmax_product(scores, allowed, v_read)
        out = out.flatten(2, 3)[:, :, :tokens]
        if not self.first:
            return out
        ahead = self.first * size
        rows = product_of_first(ahead, (q * scale, k, v), seen_BT, causal, positions)
        return torch.cat([rows, out[:, :, ahead:]], 2)

    def _read(self, seen_blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Of every block the numbers of those that it reads (N, R), and 1 where that is no repetition."""
        own = torch.ones_like(seen_blocks[0, 0, :, 0]).cumsum(0).long() - 1
        count = own[-1:] + 1
        lists = [own, (own - 1).clamp_min(0), torch.minimum(own + 1, count - 1)]
        lists += [torch.minimum(torch.full_like(own, i), count - 1) for i in range(self.first)]
        lists += [(own * prime + prime) % count for prime in _PRIMES[: self.drawn]]
        read_NR = torch.stack(lists, -1)
        before = torch.ones(len(lists), len(lists), device=own.device).tril(-1)
        repeated = ((read_NR[:, :, None] == read_NR[:, None]).to(before.dtype) * before).sum(-1)
        return read_NR, (repeated == 0).to(seen_blocks.dtype)


PATTERN = BlockPattern
