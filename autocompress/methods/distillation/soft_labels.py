"""Learn from the teacher's softened probabilities.

Adds weight · T² · KL(softmax(t / T) ‖ softmax(s / T)) to the loss of the next finetune, t and s the logits of teacher
and student, averaged over the texts. T² keeps the gradient's size the same for every temperature T.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from autocompress.methods.context import Context
from autocompress.methods.losses import SoftLabelLoss
from autocompress.space.distributions import Range
from autocompress.space.method import Gain, Method, Stage


class SoftLabels(Method):
    """Costs nothing, for the teacher's logits are computed once a study. Nearly always worth having."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    temperature: Annotated[float, Field(gt=0), Range(1.0, 8.0)] = 2.0
    weight: Annotated[float, Field(gt=0), Range(0.1, 10.0, log=True)] = 1.0

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        ctx.losses.append(SoftLabelLoss(self.temperature, self.weight, ctx.kind))
        return model
