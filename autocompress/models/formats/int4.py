"""Whole numbers from -8 to 7 times a scale, two a byte."""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.models.formats.grid import TINY, Grid


class Int4Grid(Grid):
    """There is one code more below zero than above, so the largest weight of a group, whatever its sign, becomes -8."""

    def unit(self, W_OGg: Tensor) -> Tensor:
        largest_OG = W_OGg.gather(-1, W_OGg.abs().argmax(-1, keepdim=True)).squeeze(-1)
        scale_OG = largest_OG / self.lowest
        return torch.where(scale_OG.abs() < TINY, TINY, scale_OG)


FORMAT = Int4Grid(4, -8, 7)
