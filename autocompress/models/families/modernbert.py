"""ModernBERT: fused query, key and value, fused gated feed-forwards, most layers attend to a window only."""

from __future__ import annotations

from typing import Any

from autocompress.models.families.anatomy import Family, Stack


def _before_drop(model: Any, stack: Stack, kept: list[int]) -> None:
    """The config says of every layer which kind of attention it has."""
    model.config.layer_types = [model.config.layer_types[i] for i in kept]


FAMILY = Family(
    model_types=("modernbert",),
    stacks={"layers": "num_hidden_layers"},
    attentions=(("attn", "attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo"),),
    ffns=((("mlp.Wi", "mlp.Wi"), "mlp.Wo"),),
    ffn_width="intermediate_size",
    head_size="head_dim",
    counters={},
    before_drop=_before_drop,
)
