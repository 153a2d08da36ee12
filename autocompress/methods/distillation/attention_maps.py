"""Learn where the teacher looks: its attention probabilities, head by head.

Adds weight · the mean over mapped layers, heads and tokens of KL(teacher ‖ student) to the loss of the next finetune.

- `last`: the last layer alone learns from the teacher's last (MiniLM).
- `skip`: layer m learns from floor(m · N / M), every layer (TinyBERT).

Jiao et al. 2019, "TinyBERT", arXiv:1909.10351; Wang et al. 2020, "MiniLM", arXiv:2002.10957. Departures: KL of
probabilities for both, where TinyBERT takes the squared error of scores; values' relations are those of `relations`.

Both models compute attention in the plain way while it trains, for fused kernels keep no probabilities.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Loss
from autocompress.methods.layer_mapping import Mapping, mapped, states_of
from autocompress.models import attentions
from autocompress.models.families.anatomy import anatomy
from autocompress.models.forward import Outputs
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch


class AttentionMaps(Method):
    """For fewer layers of as many heads. Needs equal head counts; `relations` does not. Runs the teacher."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    mapping: Annotated[Mapping, Choice(("skip", "last"))] = "last"
    weight: Annotated[float, Field(gt=0), Range(0.1, 10.0, log=True)] = 1.0

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        students, teachers = (states_of(each)[0] for each in (model, ctx.teacher.model))
        mapped(students, teachers, self.mapping)
        if attentions.is_on(model):
            raise NotApplicable("this model's attention has a pattern, and keeps no probabilities of all pairs")
        heads, theirs = ({a.heads for a in anatomy(each).attentions} for each in (model, ctx.teacher.model))
        if heads != theirs or len(heads) > 1:
            ours, others = (", ".join(map(str, sorted(each))) for each in (heads, theirs))
            raise NotApplicable(f"attention_maps needs as many heads as the teacher has ({others}). Got {ours}")
        ctx.losses.append(AttentionMapLoss(self.mapping, self.weight))
        return model


class AttentionMapLoss(Loss):
    """weight · the mean divergence of the rows of attention of tokens that are not padding."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "attentions"})

    def __init__(self, mapping: Mapping, weight: float) -> None:
        super().__init__()
        self.mapping, self.weight = mapping, weight

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        assert student.attentions is not None
        assert teacher.attentions is not None
        M, N = len(student.attentions), len(teacher.attentions)
        pairs = [(M - 1, N - 1)] if self.mapping == "last" else [(m - 1, g - 1) for m, g in pairs_of(M, N)]
        mask_BT = batch["attention_mask"].bool()
        off = [divergence(student.attentions[m], teacher.attentions[g], mask_BT) for m, g in pairs]
        return self.weight * torch.stack(off).mean()


def pairs_of(students: int, teachers: int) -> list[tuple[int, int]]:
    """Each of the student's layers and the teacher's that it learns from, both counted from 1."""
    return list(enumerate(mapped(students, teachers, "skip")))[1:]


def divergence(ours_BHTT: Tensor, theirs_BHTT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over heads and tokens of KL(theirs ‖ ours)."""
    tiny = torch.finfo(ours_BHTT.dtype).tiny
    p, q = theirs_BHTT.clamp_min(tiny), ours_BHTT.clamp_min(tiny)
    kl_BHT: Tensor = (theirs_BHTT * (p.log() - q.log())).sum(-1)
    return kl_BHT.mean(1)[mask_BT].mean()
