"""Learn the teacher's first token's hidden states, normalised, layer by layer.

Adds weight · (1 / (M - 1)) · Σ_m ‖h_m / ‖h_m‖ - H_g(m) / ‖H_g(m)‖‖² to the loss of the next finetune, over a batch's
texts: h_1 .. h_(M-1) the states of the first token after the student's layers but the last, H those of the teacher, and

- `skip`: g(m) = floor(m · N / M), evenly spaced.
- `last`: g(m) = N - M + m, the teacher's last layers.

Of a decoder, which reads from left to right, it is the last token's states.

Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression", arXiv:1908.09355 (weight 10 to 1000, skip
better than last). Departure: both need not have one width, for a projection is trained where they differ, and thrown
away.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Loss
from autocompress.methods.layer_mapping import Mapping, mapped, projection, states_of
from autocompress.models.forward import Outputs
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch


class Patient(Method):
    """For deep cuts of classifiers, at less than hidden_states asks for: one token a text. Runs the teacher."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    mapping: Annotated[Mapping, Choice(("skip", "last"))] = "skip"
    weight: Annotated[float, Field(gt=0), Range(1.0, 100.0, log=True)] = 10.0

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        (students, width), (teachers, teacher_width) = states_of(model), states_of(ctx.teacher.model)
        mapped(students, teachers, self.mapping)
        if students < 2:
            raise NotApplicable("patient learns from all layers but the last. This model has one")
        causal = any(getattr(module, "is_causal", False) for module in model.modules())
        ctx.losses.append(PatientLoss(self, projection(width, teacher_width, ctx.seed), last_token=causal))
        return model


class PatientLoss(Loss):
    """weight · the mean over layers and texts of the squared distance of normalised states."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "hidden_states"})

    def __init__(self, knobs: Patient, projected: nn.Module, *, last_token: bool) -> None:
        super().__init__()
        self.mapping, self.weight, self.projection, self.last_token = knobs.mapping, knobs.weight, projected, last_token

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        assert student.hidden_states is not None
        assert teacher.hidden_states is not None
        g = mapped(len(student.hidden_states) - 1, len(teacher.hidden_states) - 1, self.mapping)
        mask_BT = batch["attention_mask"]
        order_BT = torch.arange(1, mask_BT.shape[1] + 1, device=mask_BT.device) * mask_BT
        place_B = order_BT.argmax(1) if self.last_token else mask_BT.argmax(1)
        row_B = torch.arange(len(place_B), device=mask_BT.device)
        off = student.logits.new_zeros(())
        inner = range(1, len(student.hidden_states) - 1)
        for m in inner:
            ours_BD = self.projection(student.hidden_states[m][row_B, place_B])
            theirs_BD = teacher.hidden_states[g[m]][row_B, place_B]
            off = off + (F.normalize(ours_BD, dim=-1) - F.normalize(theirs_BD, dim=-1)).square().sum(-1).mean()
        return self.weight * off / max(1, len(inner))
