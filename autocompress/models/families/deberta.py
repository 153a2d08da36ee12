"""DeBERTa of the second and third version: scores are of contents and of relative positions, each projected."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autocompress.models.families.anatomy import Family
from autocompress.models.families.asking import Asking, Positions, distances, seen_by_last, split


class _Encoder(nn.Module):
    """Has neither masks nor positions of all pairs."""

    def get_attention_mask(self, attention_mask: Tensor) -> Tensor:
        return attention_mask[:, None, None, :]

    def get_rel_pos(self, *args: Any, **more: Any) -> None:
        return None


class _Attention(nn.Module):
    """Scores are q · k, q · (a position's key) and k · (a position's query), by the distance's bucket."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor, output_attentions: bool = False,
        query_states: Tensor | None = None, relative_pos: Tensor | None = None, rel_embeddings: Any = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        if output_attentions:
            given: tuple[Tensor, Tensor] = super().forward(
                hidden_states, attention_mask, True, query_states, relative_pos, rel_embeddings
            )
            return given
        own: Any = self
        size = own.attention_head_size
        q = split(own.query_proj(hidden_states if query_states is None else query_states), size)
        k, v = (split(project(hidden_states), size) for project in (own.key_proj, own.value_proj))
        kinds = {"c2p", "p2c"} & {*own.pos_att_type}
        scale = (size * (1 + len(kinds))) ** -0.5
        positions = _positions(own, q * scale, k * scale, rel_embeddings) if own.relative_attention and kinds else None
        out_BHTK = own.pattern(q, k, v, seen_by_last(attention_mask, k), scale, False, positions)
        return out_BHTK.transpose(1, 2).flatten(2), None


def _positions(own: Any, q: Tensor, k: Tensor, rel_embeddings: Tensor) -> Positions:
    """`q`, `k`: (B, H, T, K), scaled. A product with each bucket, of which pairs pick their own."""
    buckets, last = 2 * own.pos_ebd_size, q.shape[2] - 1
    embedded = own.pos_dropout(rel_embeddings)[None, :buckets]
    names = ("key_proj", "query_proj") if own.share_att_key else ("pos_key_proj", "pos_query_proj")
    to_key, to_query = (
        (x @ split(getattr(own, name)(embedded), own.attention_head_size).transpose(-1, -2)).flatten(2)
        if kind in own.pos_att_type else None
        for x, name, kind in ((q, names[0], "c2p"), (k, names[1], "p2c"))
    )  # fmt: skip
    bucket_D = _bucket(own, distances(q.shape[2], q))

    def positions(queries: Tensor, keys: Tensor) -> Tensor:
        bucket = bucket_D[(queries - keys + last).clamp(0, 2 * last)]
        picked = ((to_key, queries), (to_query, keys))
        terms = [x[:, :, at.clamp(0, last) * buckets + bucket] for x, at in picked if x is not None]
        return terms[0] + terms[1] if len(terms) > 1 else terms[0]

    return positions


def _bucket(own: Any, from_key: Tensor) -> Tensor:
    """Which row of the embeddings stands for a query that is so many tokens after its key."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    span, bucket_D = own.pos_ebd_size, from_key
    if own.position_buckets > 0:
        bucket_D = make_log_bucket_position(from_key, own.position_buckets, own.max_relative_positions).long()
    row_D: Tensor = (bucket_D + span).clamp(0, 2 * span - 1)
    return row_D


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
    asking=Asking(_Attention, _Encoder),
)  # fmt: skip
