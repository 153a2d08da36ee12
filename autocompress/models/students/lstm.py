"""An LSTM classifier: embeddings, layers that read both ways, the mean of the last one's outputs, a linear head.

Every layer has the width of what it reads, so that any of them can be dropped. Graves and Schmidhuber 2005, "Framewise
phoneme classification with bidirectional LSTM"; as a student of BERT: Tang et al. 2019, arXiv:1903.12136.
"""

from __future__ import annotations

from torch import Tensor, nn

from autocompress.models.students.configs import LstmConfig, StudentConfig
from autocompress.models.students.text_student import TextStudent, mean


class LstmForSequenceClassification(TextStudent):
    """Two directions a layer."""

    shape = "bilstm"
    config_class = LstmConfig

    def add_layers(self, config: StudentConfig) -> None:
        width = config.hidden_size
        self.layers = nn.ModuleList(
            nn.LSTM(width, width // 2, batch_first=True, bidirectional=True) for _ in range(config.num_hidden_layers)
        )

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = []
        for layer in self.layers:
            h_BTD = layer(self.dropout(h_BTD) * mask_BT1)[0]
            states.append(h_BTD)
        return mean(h_BTD, mask_BT1), states


MODEL = LstmForSequenceClassification
