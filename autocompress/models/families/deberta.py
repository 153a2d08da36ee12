"""DeBERTa of the second and third version: scores are of contents and of relative positions, each projected."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("deberta-v2",),
    stacks={"encoder.layer": "num_hidden_layers"},
    attentions=(
        (
            "attention.self", "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
            "attention.output.dense",
        ),
    ),
    ffns=((("intermediate.dense",), "output.dense"),),
    ffn_width="intermediate_size",
    head_size="attention_head_size",
    counters={"num_attention_heads": "heads", "all_head_size": "width"},
    like={"attention.self.pos_query_proj": "q", "attention.self.pos_key_proj": "k"},
    plain_attention=False,
)  # fmt: skip
