"""What this machine's CPU has for products of numbers in fewer bits."""

from __future__ import annotations

import platform
import warnings
from functools import cache
from pathlib import Path

_FLAGS = Path("/proc/cpuinfo")


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def has_vnni() -> bool:
    """Whether it multiplies 8-bit numbers and adds the products in 32 bits with one instruction. False if unknown."""
    return is_x86() and _FLAGS.exists() and "vnni" in _FLAGS.read_text()


def has_bfloat16() -> bool:
    """Whether it multiplies numbers in bfloat16: by AVX-512 BF16 or AMX."""
    import torch  # which asks the CPU itself

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache
def products_saturate() -> bool:
    """Whether this CPU adds pairs of 8-bit products in 16 bits, which overflow: x86 without the VNNI instructions."""
    saturate = is_x86() and not has_vnni()
    if saturate:
        warnings.warn(
            "this CPU has no VNNI instructions: int8 weights keep to 7 bits, and int8 gains less speed.", stacklevel=2
        )
    return saturate


def weight_bits() -> int:
    """How many of 8 an int8 weight may use."""
    return 7 if products_saturate() else 8
