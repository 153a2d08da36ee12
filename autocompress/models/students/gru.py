"""A GRU classifier: as the LSTM's, with three gates' products a step instead of four.

Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", arXiv:1406.1078.
"""

from __future__ import annotations

from torch import Tensor, nn

from autocompress.models.students.configs import GruConfig, StudentConfig
from autocompress.models.students.text_student import TextStudent, mean


class GruForSequenceClassification(TextStudent):
    """Two directions a layer."""

    shape = "gru"
    config_class = GruConfig

    def add_layers(self, config: StudentConfig) -> None:
        width = config.hidden_size
        self.layers = nn.ModuleList(
            nn.GRU(width, width // 2, batch_first=True, bidirectional=True) for _ in range(config.num_hidden_layers)
        )

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = []
        for layer in self.layers:
            h_BTD = layer(self.dropout(h_BTD) * mask_BT1)[0]
            states.append(h_BTD)
        return mean(h_BTD, mask_BT1), states


MODEL = GruForSequenceClassification
