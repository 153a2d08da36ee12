"""The convolutional classifier and the bag of words of our own: no layers that follow each other."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("autocompress_cnn", "autocompress_embedding_bag"),
    stacks={},
    attentions=(),
    ffns=(),
    ffn_width="",
    head_size="",
    counters={},
)
