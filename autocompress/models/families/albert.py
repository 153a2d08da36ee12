"""ALBERT: its layers are one module that runs several times (or a few that take turns)."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("albert",),
    stacks={"encoder.albert_layer_groups": "num_hidden_layers"},
    inner="albert_layers",
    attentions=(("attention", "attention.query", "attention.key", "attention.value", "attention.dense"),),
    ffns=((("ffn",), "ffn_output"),),
    ffn_width="intermediate_size",
    head_size="attention_head_size",
    counters={"num_attention_heads": "heads", "all_head_size": "width"},
)
