"""Dropout on a CPU in a third of the time: four numbers from one draw of 64 random bits.

torch draws a number of its own for every entry, one after the other on a single thread, which was 8 % of a step of
MiniLM. An entry is dropped where its 16 bits are below the share's, so p is met to 1 / 65,536; what stays is scaled by
what p really is. The bits come from torch's own generator, whose state is put aside with a training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_EACH = 4  # entries from one draw
_VALUES = 2**16


class QuickDropout(TorchFunctionMode):
    """Within it, dropout of what lies on a CPU is ours: that of modules, and that inside of torch's attention."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        ours = _OURS.get(func)
        found = ours(*args, **(kwargs or {})) if ours else None
        return func(*args, **(kwargs or {})) if found is None else found


def dropped(shape: torch.Size, share: float) -> tuple[Tensor, float]:
    """Which entries are dropped, as bool, and what the others are multiplied by."""
    count = math.prod(shape)
    bits = torch.empty(-(-count // _EACH), dtype=torch.int64).random_(-(2**63), None)
    below = max(1, round(share * _VALUES))
    out = bits.view(torch.int16)[:count].view(shape) < below - _VALUES // 2
    return out, _VALUES / (_VALUES - below)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    """None: torch does it."""
    if not training or inplace or not _quick(input, p):
        return None
    out, scale = dropped(input.shape, p)
    return input * torch.where(out, 0.0, scale).to(input.dtype)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor | None:  # fmt: skip
    """What torch writes out where its attention drops probabilities on a CPU. None: torch does it."""
    if not _quick(query, dropout_p) or enable_gqa or key.shape[:-2] != query.shape[:-2]:
        return None
    found = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        found = found.masked_fill(found.new_ones(found.shape[-2:], dtype=torch.bool).tril().logical_not(), -math.inf)
    if attn_mask is not None:
        found = found.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else found + attn_mask
    out, kept = dropped(found.shape, dropout_p)
    probabilities: Tensor = torch.ops.aten._safe_softmax(found, -1)  # of a row that is masked throughout: 0
    return probabilities.masked_fill(out, 0) @ (value * kept)


def _quick(tensor: Tensor, share: float) -> bool:
    return tensor.device.type == "cpu" and 0 < share < 1


_OURS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.dropout: _dropout,
    F.scaled_dot_product_attention: _attention,
}
