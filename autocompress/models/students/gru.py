"""A GRU classifier: as the LSTM's, with three gates' products a step instead of four.

Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", arXiv:1406.1078.
"""

from __future__ import annotations

from autocompress.models.students.configs import GruConfig
from autocompress.models.students.recurrent import RecurrentStudent


class GruForSequenceClassification(RecurrentStudent):
    """Two directions a layer."""

    shape = "gru"
    config_class = GruConfig
    cell = "gru"


MODEL = GruForSequenceClassification
