"""GPT-2: query, key and value are one fused product, and every weight is kept transposed."""

from __future__ import annotations

from typing import Any

from autocompress.errors import NotApplicable
from autocompress.models.families.anatomy import Family, Stack


def _before_drop(model: Any, stack: Stack, kept: list[int]) -> None:
    if model.config.scale_attn_by_inverse_layer_idx:
        raise NotApplicable("this GPT-2 scales each attention by its layer's number, which dropping layers changes")


FAMILY = Family(
    model_types=("gpt2",),
    stacks={"h": "n_layer"},
    attentions=(("attn", "attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj"),),
    ffns=((("mlp.c_fc",), "mlp.c_proj"),),
    ffn_width="n_inner",
    head_size="head_dim",
    counters={"num_heads": "heads", "split_size": "width"},
    before_drop=_before_drop,
)
