"""The convolutional classifier of our own, of one layer, and the bag of words, which has none."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("autocompress_cnn", "autocompress_embedding_bag"),
    stacks={"layers": "num_hidden_layers"},
    attentions=(),
    ffns=(),
    ffn_width="",
    head_size="",
    counters={},
    products=("filters.0", "filters.1", "filters.2"),
)
