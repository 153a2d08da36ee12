"""Train in the next finetune only what is added to each matrix of the layers: W + (α / r) B A, two thin matrices.

B starts at zero, A at random; norms, biases and the head are trained as ever. When the training ends, the product is
added to the matrix, so nothing is left of it: what follows (int8, low_rank) finds plain layers. α = 2 r.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685 (ranks of 4 to 16, lr 1e-4 to
1e-3, queries and values only); to win back what pruning lost: Ma et al. 2023, "LLM-Pruner", arXiv:2305.11627.
Departure: every matrix of the layers.

On MiniLM, three seeds each, it scored 0.014 ± 0.017 less than a finetune of all weights on 1,000 texts for an epoch,
and 0.01 to 0.05 less on 120 texts for ten (lr 3e-4 and 1e-3). Its gradients and moments took 10 MB, those of all
weights 130.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context, Schedule
from autocompress.methods.reparametrized import Reparametrized
from autocompress.methods.sparsity import layers_of, original
from autocompress.models.surgery import features, holds_transposed
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage


class Lora(Method):
    """Less memory for gradients and the optimiser, where a model hardly fits. A full finetune scores better."""

    stage: ClassVar[Stage] = "train"
    fitted: ClassVar[bool] = True
    pays: ClassVar[tuple[Gain, ...]] = ("memory",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    rank: Annotated[int, Field(ge=1, le=256), Choice((8, 16, 32))] = 16
    lr: Annotated[float, Field(gt=0, lt=1), Range(1e-4, 3e-3, log=True)] = 1e-3

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        layers_of(model)
        ctx.schedules.append(Adapting(self.rank, self.lr, ctx.seed))
        return model


class Adapting(Schedule):
    """Freezes every matrix of the layers and trains what is added to it."""

    def __init__(self, rank: int, lr: float, seed: int) -> None:
        super().__init__()
        self.rank, self.lr, self.seed = rank, lr, seed
        self.added, self.stored = list[Added](), list[Reparametrized]()

    def begin(self, model: nn.Module, steps: int) -> None:
        random = torch.Generator().manual_seed(self.seed)
        for layer in layers_of(model).values():
            self.added.append(Added(*features(layer), self.rank, random, transposed=holds_transposed(layer)))
            self.stored.append(Reparametrized(layer, self.added[-1]))
            original(layer).requires_grad_(False)

    def rates(self) -> dict[nn.Parameter, float]:
        return {factor: self.lr for one in self.added for factor in (one.A_RI, one.B_OR)}

    def settle(self, model: nn.Module) -> None:
        for one in self.stored:
            one.settle()


class Added(nn.Module):
    """W + 2 B A; zeros of W stay what they are."""

    def __init__(self, I: int, O: int, rank: int, random: torch.Generator, *, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed
        self.A_RI = nn.Parameter(torch.randn(rank, I, generator=random) / I**0.5)
        self.B_OR = nn.Parameter(torch.zeros(O, rank))

    def forward(self, W: Tensor) -> Tensor:
        added_OI = 2 * self.B_OR @ self.A_RI
        return W + (added_OI.T if self.transposed else added_OI) * (W != 0)
