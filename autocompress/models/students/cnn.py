"""A convolutional classifier: filters over 3, 4 and 5 adjacent tokens, the largest answer of each, a linear head.

Kim 2014, "Convolutional Neural Networks for Sentence Classification", arXiv:1408.5882.
"""

from __future__ import annotations

from torch import Tensor, nn

from autocompress.models.students import older
from autocompress.models.students.configs import CnnConfig, StudentConfig
from autocompress.models.students.layers import FilterLayer
from autocompress.models.students.text_student import TextStudent

WIDTHS = (3, 4, 5)  # tokens that a filter sees


class CnnForSequenceClassification(TextStudent):
    """One layer, however many the config names."""

    shape = "cnn"
    config_class = CnnConfig

    def add_layers(self, config: StudentConfig) -> None:
        self.layers = nn.ModuleList([FilterLayer(config.hidden_size, WIDTHS)])
        self.register_load_state_dict_pre_hook(older.filters)

    def pooled_width(self, config: StudentConfig) -> int:
        return len(WIDTHS) * int(config.hidden_size)

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.layers[0](h_BTD * mask_BT1), []


MODEL = CnnForSequenceClassification
