"""Losses of tasks that ask for something at every token: the mean over a row's tokens that are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

UNASKED = -100  # as torch's cross entropy has it


def mean_entropy(logits_BTC: Tensor, labels_BT: Tensor) -> Tensor:
    """The cross entropy: (B,)."""
    from torch.nn import functional as F

    loss_BT = F.cross_entropy(logits_BTC.transpose(1, 2), labels_BT, reduction="none", ignore_index=UNASKED)
    return loss_BT.sum(-1) / (labels_BT != UNASKED).sum(-1).clamp_min(1)


def mean_divergence(student_BTC: Tensor, teacher_BTC: Tensor, counted_BT: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) at this temperature, over the tokens that are `counted` (1 or 0): (B,)."""
    from torch.nn import functional as F

    ours, theirs = (F.log_softmax(logits / temperature, -1) for logits in (student_BTC, teacher_BTC))
    kl_BT = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
    return (kl_BT * counted_BT).sum(-1) / counted_BT.sum(-1).clamp_min(1)
