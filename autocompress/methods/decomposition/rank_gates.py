"""Write every matrix of the layers as P diag(z) Q, and learn in the next finetune which directions to keep.

P Q is the full SVD of W; a hard concrete gate z on each direction is trained with a Lagrangian that drives the expected
share of weights to `keep` (see methods/gates.py), reached over the first `warmup` of the training. In the end the
directions whose gates are likeliest open are kept over all layers, until `keep` is spent.

Wang et al. 2020, "Structured Pruning of Large Language Models" (FLOP), arXiv:1910.04732 (gates of lr 0.1 and more, a
warm-up of the target). Departures: directions are kept up to the budget, so that a rehearsal knows the size; both
factors together are at first larger than the matrix, and only what is kept is not. Memory: until the training ends
the factors, up to twice the matrices, with their gradients and moments.

A rehearsal keeps as large a share of every matrix.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.gates import Gating, HardConcrete, Lagrangian, share_left
from autocompress.methods.reparametrized import Reparametrized
from autocompress.methods.sparsity import layers_of, original
from autocompress.models.factored.linears import LowRankLinear, truncated_svd
from autocompress.models.surgery import best, features, replace, weight_OI
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class RankGates(Method):
    """Ranks that the task chooses, layer by layer. A step takes longer: both factors are trained whole."""

    stage: ClassVar[Stage] = "factor"
    fitted: ClassVar[bool] = True
    pays: ClassVar[tuple[Gain, ...]] = ("bytes", "latency")
    estimated: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    pending: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75), Neutral(1)] = 0.5
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        paths = [
            path
            for path, layer in layers_of(model, plain=True).items()
            if sum(features(layer)) < features(layer)[0] * features(layer)[1]
        ]
        if not paths:
            raise NotApplicable("no matrix of this model's layers has a smaller pair")
        whole = 0
        for path in paths:
            layer = model.get_submodule(path)
            (I, O), bias = features(layer), layer.bias
            whole += I * O
            made = LowRankLinear(I, O, min(I, O), bias=bias is not None)
            U_OR, V_RI = truncated_svd(weight_OI(layer), min(I, O))
            made.up.weight.copy_(U_OR)
            made.down.weight.copy_(V_RI)
            if bias is not None:
                made.up.bias.copy_(bias)  # type: ignore[arg-type]
            replace(model, path, made)
        gating = RankGating(paths, self.keep, self.warmup, whole)
        ctx.schedules.append(gating)
        ctx.losses.append(Lagrangian(gating))
        return model


class RankGating(Gating):
    """Gates between the factors of every pair."""

    def __init__(self, paths: list[str], keep: float, warmup: float, whole: int) -> None:
        super().__init__(keep, warmup)
        self.paths, self.whole, self.costs = paths, whole, list[float]()

    def begin(self, model: nn.Module, steps: int) -> None:
        for path in self.paths:
            pair: Any = model.get_submodule(path)
            gated = Gated(pair.rank)
            Reparametrized(pair.down, gated)
            self.gates.append(gated.gate)
            self.costs.append(float(sum(features(pair))))

    def share(self) -> Tensor:
        """The expected weights that are left, as a share of the matrices'."""
        total = sum(len(gate.log_alpha) * cost for gate, cost in zip(self.gates, self.costs, strict=True))
        return share_left(self.gates, self.costs) * (total / self.whole)

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        kept = self._kept([gate.chance() for gate in self.gates])
        for path, gate, count in zip(self.paths, self.gates, kept, strict=True):
            pair: Any = model.get_submodule(path)
            index, z_R, V_RI = best(gate.chance(), count), gate.eval()(), original(pair.down)
            made = LowRankLinear(pair.in_features, pair.out_features, count, bias=pair.bias is not None)
            made.down.weight.copy_(V_RI[index] * z_R[index, None].clamp_min(0.1))
            made.up.weight.copy_(pair.up.weight[:, index])
            if pair.bias is not None:
                made.up.bias.copy_(pair.bias)
            replace(model, path, made)

    def _kept(self, chances: list[Tensor]) -> list[int]:
        """How many directions of each: the likeliest of all, each layer's first before any one's second."""
        steps = sorted(
            (-value if rank else -2.0, rank, layer)
            for layer, chance_R in enumerate(chances)
            for rank, value in enumerate(chance_R.sort(descending=True).values.tolist())
        )
        counts, spent = [0] * len(chances), 0.0
        for _, rank, layer in steps:
            if rank == 0 or spent + self.costs[layer] <= self.keep * self.whole:
                counts[layer] += 1
                spent += self.costs[layer]
        return counts


class Gated(nn.Module):
    """V, each row times its gate: where a weight is read whole no output could be."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.gate = HardConcrete(rank)

    def forward(self, V_RI: Tensor) -> Tensor:
        z_R: Tensor = self.gate()
        return V_RI * z_R[:, None]
