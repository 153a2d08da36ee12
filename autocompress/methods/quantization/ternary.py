"""Train with weights of which each is -a, 0 or a, in the next fine-tuning; they are stored in two bits.

In every product of the layers what is smaller than 0.7 of the mean |W| becomes zero, and a is the mean |W| of what is
left, anew at every step (Li et al. 2016, "Ternary Weight Networks", arXiv:1605.04711). Gradients go to the full weights
as if none were rounded. By `granularity` the threshold and a are those of the `tensor`, or of each `row` (an output).

In BERT: Zhang et al. 2020, "TernaryBERT", arXiv:2009.12812, whose losses `attention_maps`, `hidden_states` and
`soft_labels` are: without a teacher most of the score is lost. Departures: activations stay float32, and the table of
embeddings is left to `embedding`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context, Schedule
from autocompress.methods.reparametrized import Reparametrized
from autocompress.models.families.places import quantizable
from autocompress.models.formats.grid import TINY
from autocompress.models.formats.ternary import FORMAT
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.rotation import spread_pairs
from autocompress.models.surgery import holds_transposed, weight_OI
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Ternary(Method):
    """A sixteenth of the layers' bytes, at no latency; worth it with a teacher's losses, and where bytes are all."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    pending: ClassVar[bool] = True

    granularity: Annotated[Literal["tensor", "row"], Choice(("tensor", "row"))] = "row"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        spread_pairs(model)
        layers = quantizable(model, "classifier")
        precision = Precision("ternary", per_channel=self.granularity == "row")
        scales = {f"{path}.weight_scale": FORMAT.scale(weight_OI(layer), precision) for path, layer in layers.items()}
        ctx.precision.add(layers, precision, scales)
        ctx.schedules.append(Ternarizing(list(layers), precision, ctx.precision))
        return model


class Ternarizing(Schedule):
    """From the first step to the last, so every rung is honest. Settled, it leaves the learnt scales in the plan."""

    def __init__(self, paths: list[str], precision: Precision, plan: PrecisionPlan) -> None:
        super().__init__()
        self.paths, self.precision, self.plan = paths, precision, plan
        self.layers = list[Reparametrized]()

    def begin(self, model: nn.Module, steps: int) -> None:
        layers: list[Any] = [model.get_submodule(path) for path in self.paths]
        self.layers = [
            Reparametrized(layer, TernaryWeight(self.precision, transposed=holds_transposed(layer))) for layer in layers
        ]

    def settle(self, model: nn.Module) -> None:
        for path, one in zip(self.paths, self.layers, strict=True):
            one.settle()
            size_OI = weight_OI(one.layer).abs()  # a, or 0
            size = size_OI.amax(1, keepdim=True) if self.precision.per_channel else size_OI.amax().reshape(1, 1)
            self.plan.scales[f"{path}.weight_scale"] = size.clamp_min(TINY)


class TernaryWeight(nn.Module):
    """The weight as -a, 0 or a, with the gradient of the weight itself."""

    def __init__(self, precision: Precision, *, transposed: bool) -> None:
        super().__init__()
        self.precision, self.transposed = precision, transposed

    def forward(self, W: Tensor) -> Tensor:
        with torch.no_grad():
            rounded_OI = FORMAT.projected(W.T if self.transposed else W, self.precision)
        return (rounded_OI.T if self.transposed else rounded_OI) + (W - W.detach())
