"""An LSTM classifier.

Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM"; as a student of BERT: Tang et
al. 2019, arXiv:1903.12136.
"""

from __future__ import annotations

from autocompress.models.students.configs import LstmConfig
from autocompress.models.students.recurrent import RecurrentStudent


class LstmForSequenceClassification(RecurrentStudent):
    """Two directions a layer."""

    shape = "bilstm"
    config_class = LstmConfig
    cell = "lstm"


MODEL = LstmForSequenceClassification
