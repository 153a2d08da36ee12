"""Learn how the teacher's tokens relate: softmax(A Aᵀ / √k) of its queries, of its keys and of its values.

Adds weight · the mean over the three of KL(teacher ‖ student) to the loss of the next finetune. A layer's heads are
laid side by side and parted anew into `heads` relation heads, of k numbers each, so neither widths nor numbers of heads
have to agree. `layer`: which of the teacher's layers, counted from its last (1); the student's last layer learns it.

Wang et al. 2020, "MiniLMv2: Multi-Head Self-Attention Relation Distillation", arXiv:2012.15828 (48 relation heads for
BERT-base; of large teachers an upper middle layer; q-q, k-k and v-v weighted alike). Departure: fewer relation heads,
as the models are smaller.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Loss
from autocompress.models.families.anatomy import Attention, anatomy
from autocompress.models.forward import Outputs
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch


class Relations(Method):
    """For students of any width and any number of heads. Runs the teacher on every batch."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    layer: Annotated[int, Field(ge=1), Choice((1, 2))] = 1
    heads: Annotated[int, Field(ge=1)] = 4
    weight: Annotated[float, Field(gt=0), Range(0.1, 10.0, log=True)] = 1.0

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        ours, theirs = (own_attentions(each) for each in (model, ctx.teacher.model))
        if self.layer > len(theirs):
            raise NotApplicable(f"relations: the teacher has {len(theirs)} layers. Got layer={self.layer}")
        for attention in (ours[-1], theirs[-self.layer]):
            for rows in (attention.heads * attention.head_size, attention.kv_heads * attention.head_size):
                if rows % self.heads:
                    raise NotApplicable(f"relations: {rows} numbers a token cannot be parted into {self.heads} heads")
        ctx.losses.append(RelationLoss(self.layer, self.heads, self.weight))
        return model


def own_attentions(model: nn.Module) -> list[Attention]:
    """Every layer's attention to its own tokens. Raises `NotApplicable` for two stacks, and where there are none."""
    found = anatomy(model)
    if len(found.stacks) > 1:
        raise NotApplicable("relations learns from one stack of layers. This model has an encoder and a decoder")
    return list(found.attentions)


class RelationLoss(Loss):
    """weight · the mean divergence of the relations of tokens that are not padding."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "q", "k", "v"})

    def __init__(self, layer: int, heads: int, weight: float) -> None:
        super().__init__()
        self.layer, self.heads, self.weight = layer, heads, weight

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        mask_BT = batch["attention_mask"].bool()
        off = []
        for role in ("q", "k", "v"):
            ours, theirs = getattr(student, role)[-1], getattr(teacher, role)[-self.layer]
            off.append(
                divergence(relations(ours, self.heads, mask_BT), relations(theirs, self.heads, mask_BT), mask_BT)
            )
        return self.weight * torch.stack(off).mean()


def relations(x_BTE: Tensor, heads: int, mask_BT: Tensor) -> Tensor:
    """log softmax(A Aᵀ / √k) over the tokens that are not padding: (B, R, T, T)."""
    a_BRTk = x_BTE.reshape(*x_BTE.shape[:2], heads, -1).transpose(1, 2)
    scores = a_BRTk @ a_BRTk.transpose(-1, -2) / a_BRTk.shape[-1] ** 0.5
    seen: Tensor = scores.masked_fill(~mask_BT[:, None, None], torch.finfo(scores.dtype).min)
    return seen.log_softmax(-1)


def divergence(ours_BRTT: Tensor, theirs_BRTT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over relation heads and tokens of KL(theirs ‖ ours), both logarithms."""
    seen = mask_BT[:, None, None]
    kl_BRT: Tensor = (theirs_BRTT.exp() * (theirs_BRTT - ours_BRTT).masked_fill(~seen, 0.0)).sum(-1)
    return kl_BRT.mean(1)[mask_BT].mean()
