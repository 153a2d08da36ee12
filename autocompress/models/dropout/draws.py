"""Which entries are dropped: four of them by one draw of 64 random bits.

torch draws a number of its own for every entry, one after the other on a single thread, which was 8 % of a step of
MiniLM. An entry is dropped where its 16 bits are below the share's, so p is met to 1 / 65,536; what stays is scaled by
what p really is. The bits come from torch's own generator, whose state is put aside with a training. That an entry
stays is written as an integer of ones, to be and-ed with its bits: `masked_fill` takes ten times as long.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_EACH = 4  # entries from one draw
_VALUES = 2**16
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


def drawn(shape: torch.Size, share: float) -> tuple[Tensor, float]:
    """int16 of the shape, -1 where an entry stays and 0 where it is dropped; what those that stay are multiplied by."""
    count, below = math.prod(shape), max(1, round(share * _VALUES))
    least = below - _VALUES // 2
    bits = torch.empty(-(-count // _EACH), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return bits[:count].view(shape).clamp_(least - 1, least).neg_().add_(least - 1), _VALUES / (_VALUES - below)


def cleared(entries: Tensor, stays: Tensor) -> Tensor:
    """The entries, 0 where they are dropped."""
    integer = _INTEGERS[entries.element_size()]
    return (entries.view(integer) & stays.to(integer)).view(entries.dtype)


def quick(tensor: Tensor, share: float) -> bool:
    """Whether ours is drawn: on a CPU, where anything is dropped, and not all."""
    return tensor.device.type == "cpu" and 0 < share < 1


class Cleared(torch.autograd.Function):
    """`cleared`, with its gradient."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, stays: Tensor) -> Tensor:
        ctx.save_for_backward(stays)
        return cleared(entries, stays)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [stays] = ctx.saved_tensors
        return cleared(gradients[0], stays), None
