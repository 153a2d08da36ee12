"""What the recurrent students have in common: layers that read both ways, the mean of the last one's outputs.

Every layer has the width of what it reads, so that any of them can be dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from autocompress.models.students.configs import StudentConfig
from autocompress.models.students.text_student import TextStudent, mean


class RecurrentStudent(TextStudent):
    """`cell`: torch's class of one layer."""

    cell: ClassVar[Callable[..., nn.RNNBase]]

    def add_layers(self, config: StudentConfig) -> None:
        width = config.hidden_size
        self.layers = nn.ModuleList(
            self.cell(width, width // 2, batch_first=True, bidirectional=True) for _ in range(config.num_hidden_layers)
        )

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = []
        for layer in self.layers:
            h_BTD = layer(self.dropout(h_BTD) * mask_BT1)[0]
            states.append(h_BTD)
        return mean(h_BTD, mask_BT1), states
