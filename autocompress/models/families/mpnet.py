"""MPNet: BERT with one table of relative positions, a column a head, that all layers read."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autocompress.models.families.anatomy import Family
from autocompress.models.families.asking import Asking, by_distance, distances, seen_by_last, split


class _Encoder(nn.Module):
    """Reads the table once for every distance, and not for every pair of tokens."""

    def compute_position_bias(self, x: Tensor, *args: Any, **more: Any) -> Tensor:
        """(H, 2 T - 1); as the stock class has it where all probabilities are asked for."""
        own: Any = self
        if own.config._attn_implementation == "eager":
            all_pairs: Tensor = super().compute_position_bias(x, *args, **more)  # type: ignore[misc]
            return all_pairs
        table: Tensor = own.relative_attention_bias(own.relative_position_bucket(distances(x.shape[1], x)))
        return table.T


class _Attention(nn.Module):
    """The stock class calls no attention function of transformers'."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None, position_bias: Tensor, **more: Any
    ) -> tuple[Tensor, ...]:
        if position_bias.ndim > 2:
            given: tuple[Tensor, ...] = super().forward(hidden_states, attention_mask, position_bias, **more)
            return given
        own: Any = self
        size = own.attention_head_size
        q, k, v = (split(project(hidden_states), size) for project in (own.q, own.k, own.v))
        seen_BT = seen_by_last(attention_mask, k)
        out_BHTK = own.pattern(q, k, v, seen_BT, size**-0.5, False, by_distance(position_bias))
        return (own.o(out_BHTK.transpose(1, 2).flatten(2)),)


FAMILY = Family(
    model_types=("mpnet",),
    stacks={"encoder.layer": "num_hidden_layers"},
    attentions=(("attention.attn", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),),
    ffns=((("intermediate.dense",), "output.dense"),),
    ffn_width="intermediate_size",
    head_size="attention_head_size",
    counters={"num_attention_heads": "heads", "all_head_size": "width"},
    position_table="encoder.relative_attention_bias",
    asking=Asking(_Attention, _Encoder),
)
