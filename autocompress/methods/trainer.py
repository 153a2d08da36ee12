"""One run of a fine-tuning: batches, optimizer, losses, schedules, and when it is no use to go on.

A loss that is no number ends the training at once, and so does one that comes to three times its first mean and is
above that of guessing, log C: what begins nearly fitted to its texts may rise for a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autocompress.errors import Diverged
from autocompress.machine import interrupts
from autocompress.methods.context import Context
from autocompress.methods.optimization import Knobs, lr_factor, parameter_groups
from autocompress.methods.sparsity import Zeros, zeros
from autocompress.models.dropout import QuickDropout
from autocompress.models.forward import device_of, fetched, forward, moved, placed
from autocompress.models.truncation import read
from autocompress.tasks.dataset import Batch, Examples

_FIRST = 10  # steps whose mean loss is where the training began
_DIVERGED = 3.0  # times that, and worse than guessing: nothing is learnt any more


class Training:
    """One run of `finetune`. It can be interrupted: see `context.Interruptible`."""

    def __init__(self, knobs: Knobs, model: nn.Module, ctx: Context, train: Examples, epochs: int) -> None:
        torch.manual_seed(ctx.seed)
        self.model, self.ctx = model, ctx
        self.knobs, self.step, self.steps = knobs, 0, epochs * math.ceil(len(train) / knobs.batch_size)
        self.batches = stream(train, epochs, knobs.batch_size, ctx.seed)
        self.zeros = Zeros({})
        for schedule in ctx.schedules:
            schedule.begin(model, self.steps)
        self.optimizer = torch.optim.AdamW(parameter_groups(knobs, model, ctx), fused=True)
        self.trend, self.guessing = Trend(), ctx.kind.guessing(train)

    def run(self) -> None:
        """Take every step that is left, and make the model final."""
        self.zeros = zeros(self.model)
        self.model.train()
        with placed(self._parts(), self.ctx.device):
            self.ctx.course.begins(self)
            with interrupts.waiting():  # what is interrupted within a step could not be put aside
                while self.step < self.steps:
                    loss = self._advance(next(self.batches))
                    self.step += 1
                    self.advanced()
                    for schedule in self.ctx.schedules:
                        schedule.step(self.step / self.steps)
                    self.ctx.course.stepped(self, loss)
        for schedule in self.ctx.schedules:
            schedule.settle(self.model)

    def factor(self) -> float:
        """What multiplies lr at the next step."""
        return lr_factor(self.knobs, self.step, self.steps)

    def advanced(self) -> None:
        """Called after every step, before anybody hears of it."""

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the steps to come depend on."""
        moments = {
            f"optimizer.{i}.{name}": tensor
            for i, p in enumerate(self._parameters())
            for name, tensor in self.optimizer.state[p].items()
        }
        own = self._weights() | moments | {"trend": self.trend.state(), "random": torch.get_rng_state()}
        if self.ctx.device.type == "cuda":
            own["random_cuda"] = torch.cuda.get_rng_state(self.ctx.device)
        return {name: fetched(tensor) for name, tensor in own.items()}

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Go on after `step` steps, as `state` was then."""
        self.take(state)
        self.trend = Trend(*state["trend"].tolist())
        self.step = step
        for _ in range(step):
            next(self.batches)
        torch.set_rng_state(state["random"])
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.ctx.device)

    def take(self, state: dict[str, Tensor]) -> None:
        """The weights and the optimizer's moments of `state`."""
        with torch.no_grad():
            for name, tensor in self._weights().items():
                tensor.copy_(state[name])
        for i, p in enumerate(self._parameters()):
            moments = {name: state.get(f"optimizer.{i}.{name}") for name in ("step", "exp_avg", "exp_avg_sq")}
            if moments["step"] is not None:  # there is none where no gradient ever came
                self.optimizer.state[p] = {n: t.to(p.device, copy=True) for n, t in moments.items() if t is not None}

    def _weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the model, the losses and the schedules, those that are shared once."""
        parts = self._parts()
        return {name: t.detach() for name, t in [*parts.named_parameters(), *parts.named_buffers()]}

    def _parts(self) -> nn.ModuleDict:
        losses = {f"loss{i}": loss for i, loss in enumerate(self.ctx.losses)}
        schedules = {f"schedule{i}": schedule for i, schedule in enumerate(self.ctx.schedules)}
        return nn.ModuleDict({"model": self.model, **losses, **schedules})

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _advance(self, batch: Batch) -> float:
        """One optimizer step. Returns its loss."""
        loss = backward(self.model, batch, self.ctx, self.knobs.label_weight)
        norm = nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        if not (loss.isfinite() and norm.isfinite()):
            raise Diverged(
                f"finetune: the loss is {loss.item():g} and its gradient's norm {norm.item():g} "
                f"at step {self.step + 1} of {self.steps}. Lower lr."
            )
        if self.trend.rises(loss.item(), self.guessing):
            raise Diverged(
                f"finetune: the loss rose from {self.trend.first:.3g} to {self.trend.latest:.3g} "
                f"by step {self.step + 1} of {self.steps}. Lower lr."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.factor()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.zeros.keep()
        return loss.item()


@dataclass
class Trend:
    """Where the loss is going: its mean over the first steps, and a running mean of the latest."""

    first: float = 0.0
    latest: float = 0.0
    seen: float = 0.0

    def rises(self, loss: float, guessing: float) -> bool:
        """Take one more loss into account. Whether by now it is far above where it began, and worse than guessing."""
        self.seen += 1
        if self.seen <= _FIRST:
            self.first += (loss - self.first) / self.seen
            self.latest = self.first
        else:
            self.latest += (loss - self.latest) / _FIRST
        return self.seen >= 2 * _FIRST and self.latest > max(_DIVERGED * self.first, guessing)

    def state(self) -> Tensor:
        return torch.tensor([self.first, self.latest, self.seen], dtype=torch.float64)


def backward(model: nn.Module, batch: Batch, ctx: Context, label_weight: float) -> Tensor:
    """The loss of a batch; its gradients are added to those of the parameters. Products are of `ctx.dtype`."""
    fewer_bits = ctx.dtype != torch.float32
    with QuickDropout(), torch.autocast(device_of(model).type, ctx.dtype if fewer_bits else None, fewer_bits):
        loss = total_loss(model, batch, ctx, label_weight)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


def total_loss(model: nn.Module, batch: Batch, ctx: Context, label_weight: float) -> Tensor:
    """`label_weight` · the task's loss, plus every waiting loss.

    One forward of the student, at most one of the teacher. With a weight of 0 a loss has to wait, and no label is read.
    """
    asked = frozenset[str]().union(*(loss.needs for loss in ctx.losses))
    device = device_of(model)
    here = read(model, moved(batch, device))
    student = forward(model, here, asked | {"logits"})
    student.logits = student.logits.float()  # no sum over labels is left to fewer bits
    total = student.logits.new_zeros(())
    if label_weight:
        total = label_weight * ctx.kind.loss(student.logits, here).mean()
    if ctx.losses:
        teacher = ctx.teacher(batch, asked, device).first(here["input_ids"].shape[1]) if asked else student
        total = total + sum(loss(here, student, teacher) for loss in ctx.losses)
    return total


@torch.no_grad()
def rehearse(knobs: Knobs, model: nn.Module, ctx: Context) -> None:
    """Take no step, but let every loss and schedule speak up if it cannot act on this model."""
    for schedule in ctx.schedules:
        schedule.begin(model, 1)
    if ctx.losses:
        total_loss(model.eval(), ctx.calibration[0], ctx, knobs.label_weight)
    for schedule in ctx.schedules:
        schedule.step(1.0)
        schedule.settle(model)


def stream(train: Examples, epochs: int, size: int, seed: int) -> Iterator[Batch]:
    """All texts `epochs` times, in another order each time."""
    for epoch in range(epochs):
        yield from train.batches(size, seed=1000 * seed + epoch)
