"""Formats that are dtypes of torch."""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.models.formats import Format, Tensors
from autocompress.models.precision_plan import Precision


class Cast(Format):
    """Numbers of a narrower dtype, without codes."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype: torch.dtype = dtype

    def round(self, W_OI: Tensor, precision: Precision, given: Tensors) -> Tensor:
        return W_OI.to(self.dtype).to(W_OI.dtype)

    def bytes(self, O: int, I: int, precision: Precision) -> float:
        return O * I * self.dtype.itemsize
