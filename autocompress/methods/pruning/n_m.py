"""Keep the n largest of every m adjacent weights of a row, and set the others to zero: 2:4 or 4:8.

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378 (magnitude, then the same training
again). What is zero stays zero in every training that follows. Departure: no search for a permutation of the inputs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from autocompress.methods.context import Context
from autocompress.methods.sparsity import layers_of, most_in_each
from autocompress.models.surgery import weight_OI
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class NM(Method):
    """Latency on the sparse tensor cores of GPUs alone, which no runtime here uses; bytes of an archive elsewhere."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    values_only: ClassVar[bool] = True

    n_m: Annotated[Literal["2:4", "4:8"], Choice(("2:4", "4:8"))] = "2:4"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        kept, group = map(int, self.n_m.split(":"))
        for layer in layers_of(model).values():
            W_OI = weight_OI(layer)
            W_OI.mul_(most_in_each(W_OI.abs(), kept, group))
        return model
