"""Whole numbers from -127 to 127 times a scale."""

from __future__ import annotations

from torch import Tensor

from autocompress.models.formats.grid import TINY, Grid


class Int8Grid(Grid):
    """The largest weight of a group lies on the end of the grid."""

    def unit(self, W_OGg: Tensor) -> Tensor:
        return (W_OGg.abs().amax(-1) / self.highest).clamp_min(TINY)


FORMAT = Int8Grid(8, -127, 127)
