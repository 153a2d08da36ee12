"""Learn in the next finetune which weights, or blocks of weights, to set to zero: those that move away from zero stay.

Every weight has a score S, trained along; the forward pass keeps the (1 - s) highest of a matrix, and gradients go to
all scores as if none were masked: ∂L/∂S = ∂L/∂W' · W. With `block` 32, blocks of 32 x 32 share a score. s rises as
sparsity · (1 - (1 - t)³) up to four fifths of the training.

Sanh et al. 2020, "Movement Pruning", arXiv:2005.07683 (scores with lr 1e-2; beyond 85 % far better than magnitude);
blocks: Lagunas et al. 2021, arXiv:2109.04838. Departures: the share is of each matrix and not of all; and scores begin
at the weights' sizes, of which the mean is 1, and not at 0. A step moves a score by the rate whatever its gradient, so
in a training of tens of steps those that began at 0 are noise; over thousands of steps where they began does not count.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.methods.context import Context, Schedule
from autocompress.methods.reparametrized import Reparametrized
from autocompress.methods.sparsity import layers_of, quantile
from autocompress.models.surgery import holds_transposed, weight_OI
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage

_RATE = 1e-2  # of the scores
_EVERY = 8  # steps after which it is looked at anew which of them are the lowest


class Movement(Method):
    """Many zeros at little loss, learnt while fine-tuning. Bytes of an archive; no runtime here skips zeros."""

    stage: ClassVar[Stage] = "train"
    fitted: ClassVar[bool] = True
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    revision: ClassVar[int] = 2

    sparsity: Annotated[float, Field(gt=0, lt=1), Range(0.5, 0.95)] = 0.7
    block: Annotated[Literal[1, 32], Choice((1, 32))] = 1

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        layers_of(model)
        ctx.schedules.append(Moving(self.sparsity, self.block))
        return model


class Moving(Schedule):
    """Masks every matrix of the layers while it is trained."""

    settled_at = 0.8
    steps: Tensor  # taken so far: put aside with the training

    def __init__(self, sparsity: float, block: int) -> None:
        super().__init__()
        self.sparsity, self.block = sparsity, block
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.masked, self.masks = list[Reparametrized](), list[Masked]()

    def begin(self, model: nn.Module, steps: int) -> None:
        layers = layers_of(model).values()
        self.masks = [Masked(weight_OI(layer), self.block, transposed=holds_transposed(layer)) for layer in layers]
        self.masked = [Reparametrized(layer, mask) for layer, mask in zip(layers, self.masks, strict=True)]

    def rates(self) -> dict[nn.Parameter, float]:
        return {mask.scores: _RATE for mask in self.masks}

    def step(self, progress: float) -> None:
        self.steps += 1
        if progress >= self.settled_at or int(self.steps) % _EVERY == 0:
            self._set(min(1.0, progress / self.settled_at))

    def settle(self, model: nn.Module) -> None:
        self._set(1.0)
        for one in self.masked:
            one.settle()

    def _set(self, done: float) -> None:
        for mask in self.masks:
            mask.aim(self.sparsity * (1 - (1 - done) ** 3))


class Masked(nn.Module):
    """The weight with what has the lowest scores set to zero."""

    least: Tensor

    def __init__(self, W_OI: Tensor, block: int, *, transposed: bool) -> None:
        super().__init__()
        self.block, self.transposed = block, transposed
        sizes = F.pad(W_OI.abs(), (0, -W_OI.shape[1] % block, 0, -W_OI.shape[0] % block))
        sizes = sizes.reshape(sizes.shape[0] // block, block, -1, block).mean((1, 3))
        self.scores = nn.Parameter(sizes / sizes.mean().clamp_min(1e-12))
        self.register_buffer("least", torch.tensor(-float("inf")))

    def forward(self, W: Tensor) -> Tensor:
        W_OI = W.T if self.transposed else W
        mask = (self.scores > self.least).to(W.dtype) + self.scores - self.scores.detach()  # its gradient: the scores'
        kept = W_OI * (mask if self.block == 1 else self._widened(mask, *W_OI.shape))
        return kept.T if self.transposed else kept

    def _widened(self, mask: Tensor, O: int, I: int) -> Tensor:
        """One number a block -> one a weight, by views: the gradient of `repeat_interleave` takes seconds."""
        rows, columns = mask.shape
        wide = mask[:, None, :, None].expand(rows, self.block, columns, self.block)
        return wide.reshape(rows * self.block, columns * self.block)[:O, :I]

    def aim(self, sparsity: float) -> None:
        """That share of the scores is too low from now on."""
        self.least.copy_(quantile(self.scores.detach(), sparsity))
