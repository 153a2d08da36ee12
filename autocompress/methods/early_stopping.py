"""Fine-tune until the validation score stops rising: how the teacher is trained where nobody says for how long.

After the warmup the rate stays as it is, and the model is scored after every epoch. Once the score has not risen for
two epochs, or after 20, the training goes back to its best epoch and cools down from there, at a rate that falls to 0
over one more epoch; what it leaves is the better of the two. A constant rate with a short cooldown does as well as a
schedule whose length is known: Hägele et al. 2024, arXiv:2405.18392. Early stopping: Prechelt 1998.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.optimization import Knobs
from autocompress.methods.trainer import Training
from autocompress.tasks.dataset import Examples

PATIENCE, CEILING = 2, 20  # epochs
_WARMUP_OF = 3  # epochs: what `warmup` is a share of, for nobody knows the training's length

Score = Callable[[nn.Module], float]


class EarlyStopping(Training):
    """One run of it. `steps` is the most there may be, and what there are once that is known."""

    def __init__(self, knobs: Knobs, model: nn.Module, ctx: Context, train: Examples, score: Score) -> None:
        super().__init__(knobs, model, ctx, train, epochs=CEILING + 1)
        self._score, self._epoch = score, math.ceil(len(train) / knobs.batch_size)
        self.best, self.waited, self.cooling_from = -math.inf, 0, -1
        self._kept: dict[str, Tensor] = {}  # weights and moments after the best epoch

    def factor(self) -> float:
        """What multiplies lr at the next step."""
        if self.cooling_from >= 0:
            return 1 - (self.step - self.cooling_from) / self._epoch
        warmup = int(self.knobs.warmup * _WARMUP_OF * self._epoch)
        return min(1.0, (self.step + 1) / (warmup + 1))

    def advanced(self) -> None:
        """After an epoch: keep it if it is the best, and see what comes next."""
        if self.step % self._epoch:
            return
        score = self._scored()
        if self.cooling_from >= 0:
            if score < self.best:
                self.take(self._kept)
            return
        if score > self.best:
            self.best, self.waited = score, 0
            self._kept = {name: tensor.clone() for name, tensor in super().state().items()}
        else:
            self.waited += 1
        if self.waited >= PATIENCE or self.step >= CEILING * self._epoch:
            self.take(self._kept)
            self.cooling_from, self.steps = self.step, self.step + self._epoch

    def state(self) -> dict[str, Tensor]:
        own = torch.tensor([self.best, self.waited, self.cooling_from, self.steps], dtype=torch.float64)
        return super().state() | {f"kept.{name}": tensor for name, tensor in self._kept.items()} | {"stopping": own}

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        super().restore(state, step)
        self.best, *counts = state["stopping"].tolist()
        self.waited, self.cooling_from, self.steps = map(int, counts)
        self._kept = {n.removeprefix("kept."): tensor for n, tensor in state.items() if n.startswith("kept.")}

    def _scored(self) -> float:
        self.model.eval()
        score = self._score(self.model)
        self.model.train()
        return score
