"""Gates that a training opens and closes, and what makes it close as many as asked (L0 regularisation).

A hard concrete gate is z = clamp(s (ζ - γ) + γ, 0, 1) with s = sigmoid((log u - log(1 - u) + log α) / β), u uniform: it
is 0 or 1 with a probability of its own, and has a gradient in log α. P(z > 0) = sigmoid(log α - β log(-γ / ζ)).

Louizos et al. 2018, "Learning Sparse Neural Networks through L0 Regularization", arXiv:1712.01312; the Lagrangian of a
target: Wang et al. 2020, "Structured Pruning of Large Language Models", arXiv:1910.04732.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autocompress.methods.context import Loss, Schedule
from autocompress.models.forward import Outputs
from autocompress.tasks.dataset import Batch

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
RATE = 0.1  # of log α and of the multipliers


class HardConcrete(nn.Module):
    """So many gates, all open at first. Called, it draws them in training, and gives the middle of each in between."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full((count,), 2.5))

    def forward(self) -> Tensor:
        if self.training:
            u = torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)
            s = torch.sigmoid((u.log() - (1 - u).log() + self.log_alpha) / BETA)
        else:
            s = torch.sigmoid(self.log_alpha)
        return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)

    def chance(self) -> Tensor:
        """Of each the probability that it is not closed."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA))


class Gating(Schedule):
    """Gates that are put on, and driven to a budget: `keep`, which is approached over the first `warmup`."""

    aim: Tensor  # the share that should be open by now: put aside with the training

    def __init__(self, keep: float, warmup: float) -> None:
        super().__init__()
        self.keep, self.warmup, self.settled_at = keep, warmup, min(0.9, warmup + 0.3)
        self.gates, self.handles = list[HardConcrete](), list[Any]()
        self.register_buffer("aim", torch.ones(()))

    def share(self) -> Tensor:
        """The share that is expected to be left."""
        raise NotImplementedError

    def rates(self) -> dict[nn.Parameter, float]:
        return {gate.log_alpha: RATE for gate in self.gates}

    def step(self, progress: float) -> None:
        self.aim.fill_(1 - (1 - self.keep) * min(1.0, progress / self.warmup))


class Lagrangian(Loss):
    """λ₁ (s - t) + λ₂ (s - t)²: s the share that is expected to be left open, t what it should be by now.

    The multipliers climb where the rest of the loss descends, so either sign of the difference is driven to zero. Only
    its gradient is given: the value is 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    lr = RATE

    def __init__(self, gating: Gating) -> None:
        super().__init__()
        self._gating = (gating,)  # no part of this loss: it is a schedule's
        self.multipliers = nn.Parameter(torch.zeros(2))

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        [gating] = self._gating
        off = gating.share() - gating.aim
        first, second = _Climbing.apply(self.multipliers)  # type: ignore[no-untyped-call]
        total: Tensor = first * off + second * off.square()
        return total - total.detach()  # its value climbs by design, and would be taken for a training that diverges


class _Climbing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def share_left(gates: Sequence[HardConcrete], costs: Sequence[float]) -> Tensor:
    """The expected share of all costs whose gates are open. `costs`: of one unit of each."""
    spent = torch.stack([gate.chance().sum() * cost for gate, cost in zip(gates, costs, strict=True)]).sum()
    return spent / sum(len(gate.log_alpha) * cost for gate, cost in zip(gates, costs, strict=True))
