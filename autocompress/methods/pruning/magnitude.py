"""Set the weights that are nearest to zero to zero, wherever they are: unstructured.

`sparsity` of the layers' weights, over each matrix (`layer`) or over all (`global`). `one_shot` does it at once;
`cubic` over the first four fifths of the next finetune, with s(t) = sparsity · (1 - (1 - t)³). What is zero stays zero
in every training that follows.

Han et al. 2015, "Learning both Weights and Connections", arXiv:1506.02626; the schedule: Zhu & Gupta 2017,
arXiv:1710.01878; in BERT: Gordon et al. 2020, arXiv:2002.08307 (30 to 40 % do no harm).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from autocompress.methods.context import Context, Schedule
from autocompress.methods.sparsity import Scope, layers_of, prune
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage


class Magnitude(Method):
    """Bytes of a compressed archive (archive_mb) alone: no runtime here multiplies less, or stores less, for zeros."""

    stage: ClassVar[Stage] = "factor"
    fitted: ClassVar[bool] = True
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    values_only: ClassVar[bool] = True

    sparsity: Annotated[float, Field(gt=0, lt=1), Range(0.3, 0.9)] = 0.5
    scope: Annotated[Literal["global", "layer"], Choice(("global", "layer"))] = "layer"
    schedule: Annotated[Literal["one_shot", "cubic"], Choice(("one_shot", "cubic"))] = "one_shot"

    @property
    def waits(self) -> bool:
        return self.schedule == "cubic"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        layers_of(model)
        if self.schedule == "one_shot":
            prune(model, self.sparsity, self.scope)
        else:
            ctx.schedules.append(Gradual(self.sparsity, self.scope))
        return model


class Gradual(Schedule):
    """More zeros after every step. What a rung sees has the zeros of the end."""

    settled_at = 0.8

    def __init__(self, sparsity: float, scope: Scope) -> None:
        super().__init__()
        self.sparsity, self.scope = sparsity, scope
        self.model: tuple[nn.Module, ...] = ()  # not a submodule: it is not this schedule's

    def begin(self, model: nn.Module, steps: int) -> None:
        self.model = (model,)

    def step(self, progress: float) -> None:
        done = min(1.0, progress / self.settled_at)
        prune(self.model[0], self.sparsity * (1 - (1 - done) ** 3), self.scope)

    def settle(self, model: nn.Module) -> None:
        prune(model, self.sparsity, self.scope)
