"""-a, 0 or a, four a byte: -1, 0 and 1 times a scale.

Li et al. 2016, "Ternary Weight Networks", arXiv:1605.04711: what is smaller than 0.7 of the mean size becomes zero, and
a is the mean size of what is left, which is close to the ternary matrix with the least squared error.
"""

from __future__ import annotations

from torch import Tensor

from autocompress.errors import ConfigError
from autocompress.models.formats import Tensors
from autocompress.models.formats.grid import TINY, Grid
from autocompress.models.precision_plan import Precision

_THRESHOLD = 0.7  # of the mean size


class TernaryGrid(Grid):
    """Two bits a weight, of whose four codes one is not used."""

    def unit(self, W_OGg: Tensor) -> Tensor:
        kept_OGg = kept(W_OGg)
        return ((W_OGg.abs() * kept_OGg).sum(-1) / kept_OGg.sum(-1).clamp_min(1)).clamp_min(TINY)

    def projected(self, W_OI: Tensor, precision: Precision) -> Tensor:
        """The weights, each of them -a, 0 or a by the threshold, with one a or one for each row."""
        W_Rg = W_OI if precision.per_channel else W_OI.reshape(1, -1)
        return (W_Rg.sign() * kept(W_Rg) * self.unit(W_Rg)[:, None]).reshape(W_OI.shape)

    def unpacked(self, stored: Tensors, I: int) -> Tensor:
        q_OI = super().unpacked(stored, I)
        if (q_OI > self.highest).any():
            raise ConfigError("ternary codes should be 0, 1 or 2. Got 3. Export the model again.")
        return q_OI


def kept(W_Gg: Tensor) -> Tensor:
    """1 where a weight does not become zero, else 0. Every row (g,) has a threshold."""
    size_Gg = W_Gg.abs()
    return (size_Gg > _THRESHOLD * size_Gg.mean(-1, keepdim=True)).to(W_Gg.dtype)


FORMAT = TernaryGrid(2, -1, 1)
