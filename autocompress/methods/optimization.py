"""What a training makes of its knobs: groups of parameters, and the learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from autocompress.methods.context import Context


class Knobs(Protocol):
    """What a training wants to know of its method."""

    @property
    def lr(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def warmup(self) -> float: ...
    @property
    def scheduler(self) -> str: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def label_weight(self) -> float: ...


@dataclass(frozen=True)
class UsualKnobs:
    """The usual ones."""

    lr: float
    batch_size: int = 32
    warmup: float = 0.1
    scheduler: str = "linear"
    weight_decay: float = 0.01
    label_weight: float = 1.0


def parameter_groups(knobs: Knobs, model: nn.Module, ctx: Context) -> list[dict[str, object]]:
    """Matrices, then biases and norms without decay, then what schedules and losses train at rates of their own."""
    rates = {p: rate for schedule in ctx.schedules for p, rate in schedule.rates().items()}
    trained = [p for p in model.parameters() if p.requires_grad and p not in rates]
    groups: list[dict[str, object]] = [
        {"params": [p for p in trained if p.ndim > 1], "initial_lr": knobs.lr, "weight_decay": knobs.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "initial_lr": knobs.lr, "weight_decay": 0.0},
    ]
    groups += [{"params": [p], "initial_lr": rate, "weight_decay": 0.0} for p, rate in rates.items()]
    own = [{"params": list(loss.parameters()), "initial_lr": loss.lr, "weight_decay": 0.0} for loss in ctx.losses]
    return groups + [group for group in own if group["params"]]


def lr_factor(knobs: Knobs, step: int, steps: int) -> float:
    """What multiplies lr at `step` (from 0): up to 1 over the warmup, then down to 0 after the last step."""
    warmup = int(knobs.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    match knobs.scheduler:
        case "linear":
            return 1 - progress
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
    return 1.0
