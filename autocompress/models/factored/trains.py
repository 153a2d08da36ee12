"""A matrix as a tensor train. Oseledets 2011."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def factors_of(size: int, count: int, *, up: bool = False) -> list[int]:
    """`count` factors as near to each other as may be, whose product is `size`; with `up` at least `size`."""
    if up:
        root = math.ceil(size ** (1 / count) - 1e-9)
        last = math.ceil(size / root ** (count - 1))
        return [last, *[root] * (count - 1)]
    found = []
    for left in range(count, 1, -1):
        ideal = size ** (1 / left)
        best = min((d for d in range(1, size + 1) if size % d == 0), key=lambda d: abs(math.log(d / ideal)))
        found.append(best)
        size //= best
    return [*found, size]


def train_of(W_OI: Tensor, outs: Sequence[int], ins: Sequence[int], rank: int) -> list[Tensor]:
    """The cores (r, o, i, r') of the train by truncated SVDs, no rank above `rank`."""
    d = len(outs)
    order = [axis for k in range(d) for axis in (k, d + k)]
    rest = W_OI.reshape(*outs, *ins).permute(order).reshape(1, -1)
    cores, before = [], 1
    for o, i in list(zip(outs, ins, strict=True))[:-1]:
        U, S, Vh = torch.linalg.svd(rest.reshape(before * o * i, -1), full_matrices=False)
        r = min(rank, len(S))
        root = S[:r].sqrt()  # shared out, so that all cores have one scale
        cores.append((U[:, :r] * root).reshape(before, o, i, r))
        rest, before = root[:, None] * Vh[:r], r
    return [*cores, rest.reshape(before, outs[-1], ins[-1], 1)]
