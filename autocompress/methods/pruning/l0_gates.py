"""Learn in the next finetune which heads, neurons and layers to keep: gates with a budget.

Every head, every neuron, and with `layers` every attention and every feed-forward, is multiplied by a hard concrete
gate (see methods/gates.py). A Lagrangian drives the expected share of multiply-adds to `keep`, which is approached over
the first `warmup` of the training. At the end the units whose gates are likeliest open are kept until `keep` is spent,
gates are multiplied into the weights that read the units, the others are cut out, and a layer of which nearly nothing
is left is dropped.

- `units`: heads and neurons.
- `layers`: these, and whole attentions and feed-forwards.

Xia et al. 2022, "Structured Pruning Learns Compact and Accurate Models" (CoFi), arXiv:2204.00408 (20 epochs of pruning,
20 of fine-tuning, layer-wise distillation; lr of the gates 0.1). Departures: units are kept up to the budget, not by a
threshold, so that a rehearsal knows the size; no gates on the width of the model, which `hidden` cuts; every layer
keeps one head, and neurons go in eights; heads that read one table of positions stay.

A rehearsal does not know which units will stay, and takes as many of every layer.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.gates import RATE, Gating, HardConcrete, Lagrangian, share_left
from autocompress.methods.units import Site, chosen, cut, sites
from autocompress.models.surgery import product, weight_OI
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class L0Gates(Method):
    """The best shapes at deep cuts, for a longer finetune: uneven layers, learnt with the task. Add distillation."""

    stage: ClassVar[Stage] = "structure"
    fitted: ClassVar[bool] = True
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")
    estimated: ClassVar[bool] = True
    pending: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.2, 0.8), Neutral(1)] = 0.5
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    granularity: Annotated[Literal["units", "layers"], Choice(("units", "layers"))] = "units"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        gating = UnitGating(sites(model), self.keep, self.warmup, whole=self.granularity == "layers")
        ctx.schedules.append(gating)
        ctx.losses.append(Lagrangian(gating))
        return model


class UnitGating(Gating):
    """Puts the gates on, says how many should be open, and in the end cuts the others out."""

    def __init__(self, found: list[Site], keep: float, warmup: float, *, whole: bool) -> None:
        super().__init__(keep, warmup)
        self.sites, self.whole, self.wholes = found, whole, list[HardConcrete]()

    def begin(self, model: nn.Module, steps: int) -> None:
        for site in self.sites:
            out: Any = product(model, site.out)
            out.gate, out.whole_gate = HardConcrete(site.units), HardConcrete(1) if self.whole else None
            self.handles += [out.register_forward_pre_hook(_gated), out.register_forward_hook(_gated_whole)]
            self.gates.append(out.gate)
            self.wholes += [out.whole_gate] if self.whole else []

    def rates(self) -> dict[nn.Parameter, float]:
        return super().rates() | {gate.log_alpha: RATE for gate in self.wholes}

    def share(self) -> Tensor:
        """The expected share of multiply-adds that is left."""
        costs = [float(site.cost) for site in self.sites]
        if not self.whole:
            return share_left(self.gates, costs)
        spent = [
            gate.chance().sum() * one.chance()[0] * cost
            for gate, one, cost in zip(self.gates, self.wholes, costs, strict=True)
        ]
        return torch.stack(spent).sum() / sum(site.units * site.cost for site in self.sites)

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        chances: dict[Site, Tensor] = {}
        for i, site in enumerate(self.sites):
            out: Any = product(model, site.out)
            whole = self.wholes[i].chance() if self.whole else torch.ones(1)
            # by what a unit is likely to be open, not by what it costs: the budget weighs that
            chances[site] = self.gates[i].chance() * whole * site.cost
            out.gate.eval()
            fold(out, site, out.gate(), self.wholes[i].eval()() if self.whole else None)
            del out.gate, out.whole_gate
        for handle in self.handles:
            handle.remove()
        cut(model, chosen(chances, self.keep))


def fold(out: nn.Module, site: Site, gate_U: Tensor, whole: Tensor | None) -> None:
    """Multiply the gates into the weights that read the units. A closed one, that the budget keeps, is opened a bit."""
    columns = gate_U.clamp_min(0.1).repeat_interleave(weight_of(out).shape[1] // site.units)
    weight_of(out).mul_(columns)
    if whole is not None:
        weight_of(out, last=True).mul_(whole.clamp_min(0.1))
        bias: Any = getattr(out, "bias", None)
        if bias is not None:
            bias.mul_(whole.clamp_min(0.1))


def weight_of(out: Any, *, last: bool = False) -> Tensor:
    """Of a product (O, I), of a pair the factor that reads, or the last."""
    if hasattr(out, "down"):
        return weight_OI(out.up if last else out.down)
    return weight_OI(out)


def _gated(out: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    gate = out.gate()
    return (args[0] * gate.repeat_interleave(args[0].shape[-1] // len(gate)), *args[1:])


def _gated_whole(out: Any, args: tuple[Tensor, ...], given: Tensor) -> Tensor:
    return given if out.whole_gate is None else given * out.whole_gate()
