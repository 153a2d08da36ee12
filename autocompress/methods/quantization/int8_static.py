"""Store weights as int8 and quantize activations on fixed grids, found by reading calibration texts once or twice.

x ≈ s · (q - z) with q in [0, 255]; the range that the codes cover is chosen by `observer`: `minmax` = all that was
seen; `percentile` = all but the 0.01 % largest; `entropy` = the cut whose quantized distribution has the least
Kullback-Leibler divergence from the real one (Migacz 2017, "8-bit Inference with TensorRT").

`smooth` moves outliers of the activations into the weights before either is rounded: inputs are divided by, and the
weight's columns multiplied with, s_i = max|x_i|^smooth / max|W_i|^(1-smooth), one s for all layers that read the same
tensor (SmoothQuant, Xiao et al. 2022, arXiv:2211.10438). Departure: the division is an operator of its own, because in
a post-norm encoder the norm that could absorb it also feeds the residual. 0 switches it off; that is
the default because MiniLM came nearer to float32 without it.

A recurrent layer reads its matrices whole: they are stored as int8, and multiplied with float32 inputs.

Not quantized, by `exclude`: `none`; `classifier` = every linear outside the stacks of layers; `first_last` = those, and
the first and the last layer of each stack.

Without per-channel scales and without smoothing BERT loses 12 points on GLUE (Bondarenko et al. 2021,
arXiv:2109.12948), so that combination is refused.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models import simulation
from autocompress.models.calibration import Observer, Seen, observe, ranges
from autocompress.models.families.places import Exclude, plan_products, quantizable
from autocompress.models.precision_plan import Precision
from autocompress.models.rotation import spread_pairs
from autocompress.models.surgery import token_tables, weight_OI
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Int8Static(Method):
    """The bytes and about the latency of int8_dynamic; pays where finding ranges at run time costs."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    observer: Annotated[Observer, Choice(("minmax", "percentile", "entropy"))] = "minmax"
    smooth: Annotated[float, Field(ge=0, le=1), Choice((0.0, 0.5, 0.75))] = 0.0
    per_channel: bool = True
    exclude: Annotated[Exclude, Choice(("none", "classifier", "first_last"))] = "none"
    embeddings: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if not (self.per_channel or self.smooth):
            raise NotApplicable("int8_static without per_channel and without smooth loses too much to be worth a trial")
        spread_pairs(model)
        layers = quantizable(model, self.exclude)
        seen = observe(model, layers, ctx.calibration, ctx.device)
        smooth = smoothing(layers, seen, self.smooth) if self.smooth else {}
        scales = {f"{path}.input_smooth": smooth_I for path, smooth_I in smooth.items()}
        for path, (low, high) in ranges(self.observer, model, seen, ctx.calibration, smooth, ctx.device).items():
            scales[f"{path}.input_scale"], scales[f"{path}.input_zero_point"] = simulation.input_grid(low, high)
        precision = Precision("int8", "static_int8", per_channel=self.per_channel)
        plan_products(model, ctx.precision, layers, precision, scales)
        if self.embeddings:
            ctx.precision.add(token_tables(model), Precision("int8", per_channel=True))
        return model


def smoothing(layers: dict[str, nn.Module], seen: dict[str, Seen], alpha: float) -> dict[str, Tensor]:
    """s (I,) by path: what to divide the inputs by and to multiply the weight's columns with."""
    largest: dict[int, Tensor] = {}
    for path, one in seen.items():  # all layers that read one tensor weigh in on its s
        columns_I = weight_OI(layers[path]).abs().amax(0)
        largest[one.source] = torch.maximum(columns_I, largest.get(one.source, columns_I))
    found = {}
    for path, one in seen.items():
        x_I = torch.maximum(-one.low_I, one.high_I).clamp_min(1e-5)
        found[path] = x_I**alpha / largest[one.source].clamp_min(1e-5) ** (1 - alpha)
    return found
