"""Train with rounded weights and inputs in the next fine-tuning, and learn the grids' scales along with the weights.

Weights are rounded to s · q, q in [-127, 127], inputs to s · (q - z), q in [0, 255]. Rounding passes gradients on as if
it were not there, so that ds follows from the formula itself: q - x/s inside the grid and its end outside (LSQ, Esser
et al. 2019, arXiv:1902.08153). The scales start at what covers the weights and the calibration texts. When the
fine-tuning ends, the weights are left on their grids, and the scales it learnt go into the precision plan: what was
trained is what the runtime multiplies.

A recurrent layer reads its matrices whole: they are stored as int8, and multiplied with float32 inputs.

Not quantized, by `exclude`: `none`; `classifier` = every linear outside the stacks of layers; `first_last` = those, and
the first and the last layer of each stack.

Departures: log s is learnt, so that one lr fits scales of any size and LSQ's gradient scaling is not needed; z stays.
In BERT: Zafrir et al. 2019, "Q8BERT", arXiv:1910.06188, where ranges are averages and not learnt.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context, Schedule
from autocompress.methods.reparametrized import Reparametrized
from autocompress.models.calibration import observe, ranges
from autocompress.models.families.places import Exclude, plan_products, quantizable
from autocompress.models.formats.int8 import FORMAT as INT8
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.rotation import spread_pairs
from autocompress.models.simulation import input_grid, weight_scale
from autocompress.models.students.layers import read_whole
from autocompress.models.surgery import holds_transposed, token_tables, weight_OI
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Qat(Method):
    """The bytes and latency of int8_static without its loss, for a fine-tuning step about twice as long."""

    stage: ClassVar[Stage] = "lower"  # shapes are final: the scales that it learns belong to them
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")
    pending: ClassVar[bool] = True

    per_channel: Annotated[bool, Choice((False, True))] = True
    exclude: Annotated[Exclude, Choice(("none", "classifier", "first_last"))] = "none"
    embeddings: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        spread_pairs(model)
        layers = quantizable(model, self.exclude)
        seen = observe(model, layers, ctx.calibration, ctx.device)
        precision = Precision("int8", "static_int8", per_channel=self.per_channel)
        whole = read_whole(model)
        grids = {
            path: Rounded(layers[path], precision, None if path in whole else input_grid(low, high))
            for path, (low, high) in ranges("minmax", model, seen, ctx.calibration, {}, ctx.device).items()
        }
        plan_products(model, ctx.precision, layers, precision, scales_of(grids))
        if self.embeddings:
            ctx.precision.add(token_tables(model), Precision("int8", per_channel=True))
        ctx.schedules.append(Rounding(grids, ctx.precision))
        return model


class Rounding(Schedule):
    """Rounds from the first step to the last, so every rung is honest. Settled, it leaves its scales in the plan."""

    def __init__(self, grids: dict[str, Rounded], plan: PrecisionPlan) -> None:
        super().__init__()
        self.grids, self.plan = grids, plan

    def settle(self, model: nn.Module) -> None:
        """Leave every layer on its grid."""
        for rounded in self.grids.values():
            rounded.remove()
        self.plan.scales |= scales_of(self.grids)


class Rounded:
    """What was put on one layer, until it is removed. `grid`: the input's scale and zero point, if it is rounded."""

    def __init__(self, layer: nn.Module, precision: Precision, grid: tuple[Tensor, Tensor] | None) -> None:
        self.layer = layer
        self.weight = RoundedWeight(weight_scale(weight_OI(layer), precision), transposed=holds_transposed(layer))
        self.input = RoundedInput(*grid) if grid else None
        self.stored = Reparametrized(layer, self.weight)
        if self.input:
            layer.input_grid = self.input  # a submodule, so that its scale is trained
            self.handle = layer.register_forward_pre_hook(lambda module, args: (module.input_grid(args[0]),))

    def remove(self) -> None:
        """Leave the layer as it was, with its weight on the grid."""
        layer: Any = self.layer
        if self.input:
            self.handle.remove()
            del layer.input_grid
        self.stored.settle()


class RoundedWeight(nn.Module):
    """The weight on a grid of 255 codes, one scale an output channel or one for all."""

    def __init__(self, scale_O1: Tensor, *, transposed: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale_O1.flatten().log())  # one dimension: no weight decay
        self.transposed = transposed

    def forward(self, W: Tensor) -> Tensor:
        scale = self.log_scale.exp()
        scale = scale if self.transposed else scale[:, None]
        return straight_through(W / scale, INT8.lowest, INT8.highest) * scale


class RoundedInput(nn.Module):
    """The input on a grid of 256 codes."""

    def __init__(self, scale: Tensor, zero_point: Tensor) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.log())
        self.zero_point = float(zero_point)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.log_scale.exp()
        return straight_through(x / scale, -self.zero_point, 255 - self.zero_point) * scale


def straight_through(x: Tensor, low: float, high: float) -> Tensor:
    """x rounded and clipped, with the gradient of clipping alone."""
    clipped = x.clamp(low, high)
    return clipped + (clipped.round() - clipped).detach()


def scales_of(grids: dict[str, Rounded]) -> dict[str, Tensor]:
    """What the precision plan should say of every layer."""
    scales: dict[str, Tensor] = {}
    for path, one in grids.items():
        scales[f"{path}.weight_scale"] = one.weight.log_scale.detach().exp()[:, None]
        if one.input:
            scales[f"{path}.input_scale"] = one.input.log_scale.detach().exp()
            scales[f"{path}.input_zero_point"] = torch.tensor(one.input.zero_point)
    return scales
