"""The configs of the students, apart from the models: to read a config.json loads nothing that models are made of."""

from __future__ import annotations

from transformers import PretrainedConfig


class StudentConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes. `hidden_size` is the width of the embeddings and of what every layer gives."""

    vocab_size: int = 30522
    hidden_size: int = 256
    num_hidden_layers: int = 1
    dropout: float = 0.1
    pad_token_id: int | None = 0


class LstmConfig(StudentConfig):
    """`hidden_size` is the width of both directions together, an even number."""

    model_type = "autocompress_lstm"


class GruConfig(StudentConfig):
    """`hidden_size` is the width of both directions together, an even number."""

    model_type = "autocompress_gru"


class CnnConfig(StudentConfig):
    """`hidden_size` is the width of the embeddings, and the number of filters of each width."""

    model_type = "autocompress_cnn"


class BagConfig(StudentConfig):
    """No layers."""

    model_type = "autocompress_embedding_bag"


CONFIGS = (LstmConfig, GruConfig, CnnConfig, BagConfig)
