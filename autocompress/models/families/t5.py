"""T5: two stacks, attention from the one to the other, and one table of relative positions a stack."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autocompress.models.families.anatomy import Family, Stack
from autocompress.models.families.asking import Asking, distances

_TABLE = "layer.0.SelfAttention.relative_attention_bias"
_FFNS = [f"layer.{i}.DenseReluDense" for i in (1, 2)]  # a block's last part: its second in the encoder
_ATTENTIONS = ("layer.0.SelfAttention", "layer.1.EncDecAttention")


class _Attention(nn.Module):
    """Reads the table once for every distance, and not for every pair of tokens."""

    def compute_bias(self, query_length: int, key_length: int, *args: Any, **more: Any) -> Tensor:
        """(H, 2 T - 1); as the stock class has it where all probabilities are asked for."""
        own: Any = self
        if own.config._attn_implementation == "eager":
            all_pairs: Tensor = super().compute_bias(query_length, key_length, *args, **more)  # type: ignore[misc]
            return all_pairs
        bucket = own._relative_position_bucket(
            distances(key_length, own.relative_attention_bias.weight), bidirectional=not own.is_decoder,
            num_buckets=own.relative_attention_num_buckets, max_distance=own.relative_attention_max_distance,
        )  # fmt: skip
        table: Tensor = own.relative_attention_bias(bucket)
        return table.T


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
    asking=Asking(_Attention),
    before_drop=_before_drop,
)
