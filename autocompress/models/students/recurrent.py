"""What the recurrent students have in common: layers that read both ways, the mean of the last one's outputs.

Every layer has the width of what it reads, so that any of them can be dropped.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import initialization as init

from autocompress.models.students.configs import StudentConfig
from autocompress.models.students.layers import Cell, RecurrentLayer
from autocompress.models.students.text_student import TextStudent, mean


class RecurrentStudent(TextStudent):
    """`cell`: what a layer computes at a token."""

    cell: ClassVar[Cell]

    def add_layers(self, config: StudentConfig) -> None:
        width, depth = config.hidden_size, config.num_hidden_layers
        self.layers = nn.ModuleList(RecurrentLayer(self.cell, width) for _ in range(depth))

    def _init_weights(self, module: Any) -> None:
        if not isinstance(module, RecurrentLayer):
            super()._init_weights(module)
            return
        for name, parameter in module.named_parameters():
            init.xavier_uniform_(parameter) if name.endswith("weight") else init.zeros_(parameter)

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = []
        for layer in self.layers:
            h_BTD = layer(self.dropout(h_BTD) * mask_BT1)
            states.append(h_BTD)
        return mean(h_BTD, mask_BT1), states
