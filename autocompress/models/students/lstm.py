"""An LSTM classifier: embeddings, layers that read both ways, the mean of the last one's outputs, a linear head.

Every layer has the width of what it reads, so that any of them can be dropped. Graves and Schmidhuber 2005, "Framewise
phoneme classification with bidirectional LSTM"; as a student of BERT: Tang et al. 2019, arXiv:1903.12136.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from autocompress.models.students.lstm_config import LstmConfig


class LstmForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """Takes no more than ids and their mask; texts of any length."""

    config_class = LstmConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embeddings = nn.Embedding(config.vocab_size, width, config.pad_token_id)
        self.layers = nn.ModuleList(
            nn.LSTM(width, width // 2, batch_first=True, bidirectional=True) for _ in range(config.num_hidden_layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False, **_: Any
    ) -> SequenceClassifierOutput:
        mask_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        h_BTD = self.embeddings(input_ids)
        mask_BT1 = mask_BT[..., None].to(h_BTD.dtype)
        states = [h_BTD]
        for layer in self.layers:
            h_BTD = layer(self.dropout(h_BTD) * mask_BT1)[0]
            states.append(h_BTD)
        mean_BD = (h_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp_min(1)
        logits_BC = self.classifier(self.dropout(mean_BD))
        return SequenceClassifierOutput(logits=logits_BC, hidden_states=tuple(states) if output_hidden_states else None)
