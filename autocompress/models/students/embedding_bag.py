"""A bag of words: the mean of the embeddings and a linear head. Nothing is faster.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759, without its n-grams.
"""

from __future__ import annotations

from torch import Tensor

from autocompress.models.students.configs import BagConfig
from autocompress.models.students.text_student import TextStudent, mean


class BagForSequenceClassification(TextStudent):
    """The order of the tokens is lost."""

    shape = "embedding_bag"
    config_class = BagConfig

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        return mean(h_BTD, mask_BT1), []


MODEL = BagForSequenceClassification
