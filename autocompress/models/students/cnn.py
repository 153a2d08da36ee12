"""A convolutional classifier: filters over 3, 4 and 5 adjacent tokens, the largest answer of each, a linear head.

Kim 2014, "Convolutional Neural Networks for Sentence Classification", arXiv:1408.5882.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.models.students.configs import CnnConfig, StudentConfig
from autocompress.models.students.text_student import TextStudent

WIDTHS = (3, 4, 5)  # tokens that a filter sees


class CnnForSequenceClassification(TextStudent):
    """One layer, however many the config names."""

    shape = "cnn"
    config_class = CnnConfig

    def add_layers(self, config: StudentConfig) -> None:
        width = config.hidden_size
        self.filters = nn.ModuleList(nn.Conv1d(width, width, tokens) for tokens in WIDTHS)

    def pooled_width(self, config: StudentConfig) -> int:
        return len(WIDTHS) * int(config.hidden_size)

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        x_BDT = (h_BTD * mask_BT1).transpose(1, 2)
        # every text has a window of zeros behind it: then an answer does not depend on how long others are
        padded_BDT = F.pad(x_BDT, (max(WIDTHS) - 1, max(WIDTHS)))
        largest = [F.relu(conv(padded_BDT)).amax(-1) for conv in self.filters]
        return torch.cat(largest, -1), []


MODEL = CnnForSequenceClassification
