"""MPNet: BERT with one table of relative positions, a column a head, that all layers read."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("mpnet",),
    stacks={"encoder.layer": "num_hidden_layers"},
    attentions=(("attention.attn", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),),
    ffns=((("intermediate.dense",), "output.dense"),),
    ffn_width="intermediate_size",
    head_size="attention_head_size",
    counters={"num_attention_heads": "heads", "all_head_size": "width"},
    position_table="encoder.relative_attention_bias",
    plain_attention=False,
)
