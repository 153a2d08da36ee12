"""DistilBERT."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("distilbert",),
    stacks={"transformer.layer": "n_layers"},
    attentions=(("attention", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),),
    ffns=((("ffn.lin1",), "ffn.lin2"),),
    ffn_width="hidden_dim",
    head_size="attention_head_size",
    counters={"n_heads": "heads"},
)
