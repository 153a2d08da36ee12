"""Losses that several methods use."""

from __future__ import annotations

from torch import Tensor

from autocompress.methods.context import Loss
from autocompress.models.forward import Outputs
from autocompress.tasks.dataset import Batch
from autocompress.tasks.kind import TaskKind


class SoftLabelLoss(Loss):
    """weight · T² · KL(teacher ‖ student) at temperature T."""

    def __init__(self, temperature: float, weight: float, kind: TaskKind) -> None:
        super().__init__()
        self.temperature, self.weight, self._kind = temperature, weight, kind

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        T = self.temperature
        return self.weight * T * T * self._kind.distil(student.logits, teacher.logits, batch, T).mean()
