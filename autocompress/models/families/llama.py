"""Llama and what is built alike (Mistral, Qwen2, Qwen3): grouped key and value heads, gated feed-forwards."""

from __future__ import annotations

from typing import Any

from autocompress.models.families.anatomy import Family, Stack


def _before_drop(model: Any, stack: Stack, kept: list[int]) -> None:
    if kinds := getattr(model.config, "layer_types", None):  # which layers attend to a window only
        model.config.layer_types = [kinds[i] for i in kept]


FAMILY = Family(
    model_types=("llama", "mistral", "qwen2", "qwen3"),
    stacks={"layers": "num_hidden_layers"},
    attentions=(("self_attn", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),),
    ffns=((("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),),
    ffn_width="intermediate_size",
    head_size="head_dim",
    counters={"num_key_value_groups": "group"},
    before_drop=_before_drop,
)
