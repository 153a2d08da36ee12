"""T5: two stacks, attention from the one to the other, and one table of relative positions a stack."""

from __future__ import annotations

from typing import Any

from autocompress.models.families.anatomy import Family, Stack

_TABLE = "layer.0.SelfAttention.relative_attention_bias"
_FFNS = [f"layer.{i}.DenseReluDense" for i in (1, 2)]  # a block's last part: its second in the encoder
_ATTENTIONS = ("layer.0.SelfAttention", "layer.1.EncDecAttention")


def _before_drop(model: Any, stack: Stack, kept: list[int]) -> None:
    """The first block works the positions out for all: the new first one takes its table over."""
    old, new = (model.get_submodule(f"{stack.blocks[i].path}.layer.0.SelfAttention") for i in (0, kept[0]))
    new.relative_attention_bias, new.has_relative_attention_bias = old.relative_attention_bias, True


FAMILY = Family(
    model_types=("t5", "mt5"),
    stacks={"encoder.block": "num_layers", "decoder.block": "num_decoder_layers"},
    attentions=tuple((place, f"{place}.q", f"{place}.k", f"{place}.v", f"{place}.o") for place in _ATTENTIONS),
    ffns=(
        *(((f"{place}.wi",), f"{place}.wo") for place in _FFNS),
        *(((f"{place}.wi_0", f"{place}.wi_1"), f"{place}.wo") for place in _FFNS),  # gated, since version 1.1
    ),
    ffn_width="d_ff",
    head_size="key_value_proj_dim",
    counters={"n_heads": "heads", "inner_dim": "width"},
    position_table=_TABLE,
    plain_attention=False,
    before_drop=_before_drop,
)
