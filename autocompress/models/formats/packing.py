"""Codes of 2, 4 or 8 bits in bytes: the first one in the lowest bits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEGAL = (2, 4, 8)  # bits that divide a byte


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes (..., n) from 0 to 2^bits - 1 -> (..., n · bits / 8) bytes, the last one filled up with zeros."""
    each = 8 // bits
    codes = F.pad(codes.to(torch.uint8), (0, -codes.shape[-1] % each))
    packed = codes[..., ::each].clone()
    for i in range(1, each):
        packed |= codes[..., i::each] << (i * bits)
    return packed


def unpack(packed: Tensor, bits: int, n: int) -> Tensor:
    """The inverse of `pack`: (..., n), uint8."""
    parts = [packed >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return torch.stack(parts, -1).flatten(-2)[..., :n]


def width(n: int, bits: int) -> int:
    """How many bytes n packed codes take."""
    return -(-n * bits // 8)


def of_byte(bits: int) -> Tensor:
    """The codes that each byte holds: (256, 8 / bits), uint8."""
    return unpack(torch.arange(256, dtype=torch.uint8)[:, None], bits, 8 // bits)
