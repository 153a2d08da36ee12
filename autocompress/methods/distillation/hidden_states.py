"""Learn the teacher's hidden states, layer by layer.

Adds weight · (1 / (M + 1)) · Σ_m MSE(h_m P, H_g(m)) to the loss of the next finetune: h_0 .. h_M are the student's
embeddings and layers, H_0 .. H_N the teacher's, g(0) = 0, and for m > 0

- `skip`: g(m) = floor(m · N / M), evenly spaced, the last to the last.
- `last`: g(m) = N - M + m, the teacher's last M layers.

P is a trained projection, there only where the widths differ, and thrown away afterwards.

Jiao et al. 2019, "TinyBERT", arXiv:1909.10351; `last`: Sun et al. 2019, "Patient Knowledge Distillation",
arXiv:1908.09355. Departures: the mean over layers instead of their sum, so that one weight serves every depth; padded
tokens do not count; one stage together with the task's loss instead of a stage before it; no attention term.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context, Loss
from autocompress.methods.layer_mapping import Mapping, mapped, projection, states_of
from autocompress.models.forward import Outputs
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch


class HiddenStates(Method):
    """For deep cuts, where logits alone teach too little. Runs the teacher on every batch: a half longer training."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    mapping: Annotated[Mapping, Choice(("skip", "last"))] = "skip"
    weight: Annotated[float, Field(gt=0), Range(0.1, 10.0, log=True)] = 1.0

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        (students, width), (teachers, teacher_width) = states_of(model), states_of(ctx.teacher.model)
        mapped(students, teachers, self.mapping)
        ctx.losses.append(HiddenStateLoss(self.mapping, self.weight, projection(width, teacher_width, ctx.seed)))
        return model


class HiddenStateLoss(Loss):
    """weight · the mean over layers of the mean squared error over tokens that are not padding."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "hidden_states"})

    def __init__(self, mapping: Mapping, weight: float, projected: nn.Module) -> None:
        super().__init__()
        self.mapping, self.weight, self.projection = mapping, weight, projected

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        assert student.hidden_states is not None
        assert teacher.hidden_states is not None
        # counted here, not in `apply`: a later step may have dropped layers
        those = mapped(len(student.hidden_states) - 1, len(teacher.hidden_states) - 1, self.mapping)
        student_LBTD = self.projection(torch.stack(student.hidden_states))
        teacher_LBTD = torch.stack([teacher.hidden_states[i] for i in those])
        error_LBT: Tensor = (student_LBTD - teacher_LBTD).square().mean(-1)
        return self.weight * error_LBT[:, batch["attention_mask"].bool()].mean()
