"""Learn from several teachers at once: the mean of their logits.

`teachers` names checkpoints that were fine-tuned for the same labels and read texts as the model does; the study's own
teacher is one more. What hidden states and attentions are learnt from is the study's own alone.

Hinton et al. 2015, arXiv:1503.02531, section 3; in BERT: Liu et al. 2019, "Improving Multi-Task Deep Neural Networks
via Knowledge Distillation", arXiv:1904.09482. Departure: the mean of logits, not of probabilities, so that one
temperature serves all. Each is run once over the training texts, where the task's kind keeps what teachers say.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Teacher
from autocompress.models.forward import CPU, Outputs, fetched, moved
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch


class Ensemble(Method):
    """A better teacher at no cost to the student. Follow it with soft_labels. Holds every teacher in memory."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    teachers: Annotated[tuple[str, ...], Field(max_length=8)] = ()

    def checkpoints(self) -> tuple[str, ...]:
        return self.teachers

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if not self.teachers:
            raise NotApplicable("ensemble has no teachers. Name some: ensemble: {teachers: [./one, ./other]}")
        others = [ctx.load(name).eval() for name in self.teachers]
        ctx.teacher = Teachers(ctx.teacher, others)
        return model


class Teachers(Teacher):
    """Answers with the mean of what all say of a batch, and remembers what the others say of a text, if it is a row."""

    def __init__(self, first: Teacher, others: list[nn.Module]) -> None:
        super().__init__(lambda: first.model)
        self._first, self._known = first, dict[int, Tensor]()
        self._others = [Teacher(lambda other=other: other) for other in others]  # type: ignore[misc]

    def __call__(self, batch: Batch, needs: frozenset[str], device: torch.device = CPU) -> Outputs:
        given = self._first(batch, needs, device)
        given.logits = (given.logits + self._sum(batch, device)) / (1 + len(self._others))
        return given

    def _sum(self, batch: Batch, device: torch.device) -> Tensor:
        rows: list[int] = batch["index"].tolist() if "index" in batch else []
        if rows and all(row in self._known for row in rows):
            return moved({"sum": torch.stack([self._known[row] for row in rows])}, device)["sum"]
        said = [other(batch, frozenset({"logits"}), device).logits for other in self._others]
        total = torch.stack(said).sum(0)
        if total.ndim == 2:
            self._known |= zip(rows, fetched(total), strict=False)
        return total
