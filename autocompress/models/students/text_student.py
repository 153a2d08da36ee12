"""What the students have in common: embeddings, something that reads them, dropout, a linear head."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from autocompress.models.students.configs import StudentConfig


class TextStudent(PreTrainedModel):  # type: ignore[misc]
    """Takes no more than ids and their mask; texts of any length."""

    shape: ClassVar[str]  # what recipes call it
    base_model_prefix = "encoder"
    main_input_name = "input_ids"

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.add_layers(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.pooled_width(config), config.num_labels)
        self.post_init()

    def add_layers(self, config: StudentConfig) -> None:
        """Make what stands between the embeddings and the head."""

    def pooled_width(self, config: StudentConfig) -> int:
        """How many numbers `read` makes of a text."""
        return int(config.hidden_size)

    def read(self, h_BTD: Tensor, mask_BT1: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The text as one vector (B, W), and what each layer gave, (B, T, D) each."""
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False, **_: Any
    ) -> SequenceClassifierOutput:
        mask_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        h_BTD = self.embeddings(input_ids)
        pooled_BW, states = self.read(h_BTD, mask_BT[..., None].to(h_BTD.dtype))
        logits_BC = self.classifier(self.dropout(pooled_BW))
        told = (h_BTD, *states) if output_hidden_states else None
        return SequenceClassifierOutput(logits=logits_BC, hidden_states=told)


def mean(h_BTD: Tensor, mask_BT1: Tensor) -> Tensor:
    """Over the tokens that are not padding: (B, D)."""
    return (h_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp_min(1)
