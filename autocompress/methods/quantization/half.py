"""Two bytes a number instead of four: `float16` (11 bits of precision) or `bfloat16` (8 bits, the range of float32).

On a GPU the whole model computes in that format, and so do torch and OpenVINO in bfloat16 on CPUs that have
instructions for it (AVX-512 BF16, AMX). Elsewhere the matrices are stored in it and computed with in float32: half the
bytes, the same latency.

Micikevicius et al. 2017, "Mixed Precision Training", arXiv:1710.03740; for bfloat16 Kalamkar et al. 2019,
arXiv:1905.12322.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import nn

from autocompress.methods.context import Context
from autocompress.models.precision_plan import Activation, Precision
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Half(Method):
    """Half the bytes at no loss worth naming; half the latency too where the format has arithmetic."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes", "latency")

    dtype: Annotated[Literal["float16", "bfloat16"], Choice(("float16", "bfloat16"))] = "float16"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        own = {path: list(module.parameters(recurse=False)) for path, module in model.named_modules()}
        paths = [path for path, parameters in own.items() if any(p.ndim > 1 for p in parameters)]
        inputs: Activation = self.dtype if ctx.computes_in(self.dtype) else "float32"
        ctx.precision.add(paths, Precision(self.dtype, inputs))
        return model
