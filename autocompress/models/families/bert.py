"""BERT and what is built alike: RoBERTa, XLM-RoBERTa, ELECTRA."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("bert", "roberta", "xlm-roberta", "electra"),
    stacks={"encoder.layer": "num_hidden_layers"},
    attentions=(
        (
            "attention.self", "attention.self.query", "attention.self.key", "attention.self.value",
            "attention.output.dense",
        ),
    ),
    ffns=((("intermediate.dense",), "output.dense"),),
    ffn_width="intermediate_size",
    head_size="attention_head_size",
    counters={"num_attention_heads": "heads", "all_head_size": "width"},
)  # fmt: skip
