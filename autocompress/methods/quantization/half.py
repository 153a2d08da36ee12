"""Two bytes a number instead of four: `float16` (11 bits of precision) or `bfloat16` (8 bits, the range of float32).

On a GPU the whole model computes in that format. On a CPU, where runtimes have no arithmetic for it, the matrices are
stored in it and computed with in float32: half the bytes, the same latency.

Micikevicius et al. 2017, "Mixed Precision Training", arXiv:1710.03740; for bfloat16 Kalamkar et al. 2019,
arXiv:1905.12322.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import nn

from autocompress.context import Context
from autocompress.distributions import Choice
from autocompress.method import Method, Stage
from autocompress.precision import Precision


class Half(Method):
    """Half the bytes at no loss worth naming; half the latency too where there is a GPU."""

    stage: ClassVar[Stage] = "lower"

    dtype: Annotated[Literal["float16", "bfloat16"], Choice(("float16", "bfloat16"))] = "float16"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        own = {path: list(module.parameters(recurse=False)) for path, module in model.named_modules()}
        paths = [path for path, parameters in own.items() if any(p.ndim > 1 for p in parameters)]
        ctx.precision.add(paths, Precision(self.dtype, self.dtype if ctx.target.device == "cuda" else "float32"))
        return model
