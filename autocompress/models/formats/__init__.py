"""How the numbers of a matrix are stored: a format, a file with a `FORMAT`. The folder is the registry.

Runtimes say which formats they have kernels for; what is stored, and what it stands for, is said here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pkgutil import iter_modules

import torch
from torch import Tensor

from autocompress.errors import ConfigError, short
from autocompress.models.precision_plan import Precision

Tensors = Mapping[str, Tensor]


class Format:
    """A format. `dtype`: numbers of torch that are of this format, so that any tensor can be cast; else it has codes.

    `given`: what the precision plan knows of the matrix besides its numbers, by name.
    """

    dtype: torch.dtype | None = None

    def fault(self, precision: Precision) -> str:
        """What is wrong with a precision that a file asks for; nothing, if it can be read."""
        return ""

    def encode(self, W_OI: Tensor, precision: Precision, given: Tensors) -> dict[str, Tensor]:
        """What is stored of a matrix, by name: `codes`, and what says what they stand for."""
        raise NotImplementedError

    def decode(self, stored: Tensors, I: int, precision: Precision) -> Tensor:
        """What is stored as float32: (O, I)."""
        raise NotImplementedError

    def shapes(self, O: int, I: int, precision: Precision) -> dict[str, tuple[int, ...]]:
        """Of what `encode` gives for a matrix (O, I)."""
        raise NotImplementedError

    def bytes(self, O: int, I: int, precision: Precision) -> float:
        """What a matrix (O, I) takes, packed without gaps."""
        raise NotImplementedError

    def round(self, W_OI: Tensor, precision: Precision, given: Tensors) -> Tensor:
        """The numbers of this format nearest to those of a matrix."""
        return self.decode(self.encode(W_OI, precision, given), W_OI.shape[1], precision)


def find(name: str) -> Format:
    """The format of that name. Raises `ConfigError` if there is none."""
    known = formats()
    if name not in known:
        raise ConfigError(f"a number format should be one of {', '.join(known)}. Got {short(name)}.")
    return known[name]


def formats() -> dict[str, Format]:
    """Every format there is, by name."""
    return _in_folders(tuple(__path__))


@cache
def _in_folders(folders: tuple[str, ...]) -> dict[str, Format]:
    modules = {found.name: importlib.import_module(f"{__name__}.{found.name}") for found in iter_modules(folders)}
    return {name: module.FORMAT for name, module in sorted(modules.items()) if hasattr(module, "FORMAT")}
