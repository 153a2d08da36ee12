"""Learn from a model between teacher and student in depth, which has learnt from the teacher before.

The assistant is the teacher with `keep` of its layers, evenly spaced, trained for `epochs` on the teacher's softened
answers and the labels. From then on it is the teacher of the losses that wait for the next finetune. What learns from
its hidden states or relations has to stand after this step.

Mirzadeh et al. 2019, "Improved Knowledge Distillation via Teacher Assistant", arXiv:1902.03393 (for students far
smaller than their teachers; one assistant of about the mean accuracy is the best single one). Departure: one assistant,
in depth. It is made once for all recipes that begin alike.
"""

from __future__ import annotations

import copy
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Course, Teacher
from autocompress.methods.kept import kept_model
from autocompress.methods.losses import SoftLabelLoss
from autocompress.methods.optimization import UsualKnobs
from autocompress.methods.trainer import Training
from autocompress.models.cutting import drop_blocks, spread
from autocompress.models.families.anatomy import anatomy
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class Assistant(Method):
    """For students with less than half of the teacher's layers. Costs one more training, once a search."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.5, 0.84), Neutral(1)] = 0.67
    epochs: Annotated[int, Field(ge=1)] = 2
    lr: Annotated[float, Field(gt=0, lt=1)] = 5e-5

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        stacks = anatomy(ctx.teacher.model).stacks
        counts = [max(1, round(self.keep * stack.passes)) for stack in stacks]
        if all(count == stack.passes for count, stack in zip(counts, stacks, strict=True)):
            raise NotApplicable(f"assistant: keep={self.keep:g} of the teacher's layers drops none")
        if ctx.train is not None:
            made = kept_model(ctx, self, lambda course: self._trained(counts, ctx, course))
            ctx.teacher = Teacher(lambda: made)
        return model

    def _trained(self, counts: list[int], ctx: Context, course: Course) -> nn.Module:
        assert ctx.train is not None
        model = copy.deepcopy(ctx.teacher.model)
        for stack, count in zip(anatomy(model).stacks, counts, strict=True):
            drop_blocks(model, stack, spread(stack.passes, count))
        own = Context(
            ctx.teacher, ctx.calibration, ctx.target, ctx.train, ctx.seed, course, kind=ctx.kind, device=ctx.device,
            losses=[SoftLabelLoss(2.0, 1.0, ctx.kind)],
        )  # fmt: skip
        Training(UsualKnobs(self.lr), model, own, ctx.train, self.epochs).run()
        return model.eval()
