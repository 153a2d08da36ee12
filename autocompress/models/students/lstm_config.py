"""What an LSTM classifier is made by. Apart from it, because to load what models are made of takes seconds."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class LstmConfig(PretrainedConfig):  # type: ignore[misc]
    """`hidden_size` is the width of both directions together, an even number."""

    model_type = "autocompress_lstm"

    def __init__(
        self, vocab_size: int = 30522, hidden_size: int = 256, num_hidden_layers: int = 1, dropout: float = 0.1,
        pad_token_id: int = 0, **more: Any,
    ) -> None:  # fmt: skip
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.dropout = dropout
        super().__init__(pad_token_id=pad_token_id, **more)
