"""Attention that drops probabilities, as torch writes it out on a CPU; of long texts a little at a time.

There every pair of tokens has a score in each head: 400 MB a layer of MiniLM with 32 texts of 512 tokens, several times
over, which a training would keep until it has gone backwards. So the scores of some heads of a text are computed, used
while the cache holds them, and forgotten; going backwards they are computed again from queries and keys, with the same
draws (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174; Dao et al. 2022,
"FlashAttention", arXiv:2205.14135).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from autocompress.models.dropout.draws import Cleared, cleared, drawn, quick

_MANY = 2**24  # scores: above that none is kept
_AT_ONCE = 2**19  # of them


class Scoring(NamedTuple):
    """How queries and keys become probabilities, and how many of those are dropped."""

    mask: Tensor | None  # which is added
    share: float
    causal: bool
    scale: float
    blank: bool  # whether there may be a row that reads nothing: its probabilities are 0

    def of(self, texts: slice, heads: slice) -> Scoring:
        """That of some heads of some texts."""
        if self.mask is None:
            return self
        some = [part if size > 1 else slice(None) for part, size in zip((texts, heads), self.mask.shape, strict=False)]
        return self._replace(mask=self.mask[tuple(some)])

    def probabilities(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, float]:
        """Which of them stay, besides, and what those are multiplied by."""
        found = (query @ key.transpose(-1, -2)).mul_(self.scale)
        if self.causal:
            later = found.new_ones(found.shape[-2:], dtype=torch.bool).tril().logical_not()
            found.masked_fill_(later, -math.inf)
        if self.mask is not None:
            found = found + self.mask
        softmax = torch.ops.aten._safe_softmax if self.blank else torch.softmax
        return softmax(found, -1), *drawn(found.shape, self.share)


def attended(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor | None:  # fmt: skip
    """As `scaled_dot_product_attention`. None: torch does it."""
    if not quick(query, dropout_p) or enable_gqa or key.shape[:-2] != query.shape[:-2]:
        return None
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    products = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    added, blank = _added(attn_mask, products)
    scoring = Scoring(added, dropout_p, is_causal, scale, blank)
    learnt = added is not None and added.requires_grad
    if query.dim() == 4 and not learnt and math.prod(query.shape[:-1]) * key.shape[-2] > _MANY:
        if added is not None:
            scoring = scoring._replace(mask=added[(None,) * (4 - added.dim())])
        found: Tensor = _Forgetful.apply(query, key, value, scoring)  # type: ignore[no-untyped-call]
        return found
    probabilities, stays, scale = scoring.probabilities(query, key)
    return Cleared.apply(probabilities, stays) @ (value * scale)  # type: ignore[no-untyped-call, no-any-return]


def _added(mask: Tensor | None, dtype: torch.dtype) -> tuple[Tensor | None, bool]:
    """What is added to scores for a mask, and whether it may leave a row nothing; one of numbers is not looked at."""
    if mask is None or mask.dtype != torch.bool:
        return mask, mask is not None
    if mask.all():
        return None, False
    zeros = torch.zeros(mask.shape, dtype=dtype)
    return zeros.masked_fill_(~mask, -math.inf), not mask.any(-1).all()


class _Forgetful(torch.autograd.Function):
    """The same; no score is kept."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scoring, ctx.random = scoring, torch.get_rng_state()
        found = query.new_empty(*query.shape[:-1], value.shape[-1])
        for part in _parts(query, key):
            probabilities, stays, scale = scoring.of(*part).probabilities(query[part], key[part])
            found[part] = cleared(probabilities, stays) @ (value[part] * scale)
        return found

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        scoring, saved = ctx.scoring, ctx.saved_tensors
        to_query, to_key, to_value = map(torch.empty_like, saved)
        now = torch.get_rng_state()
        torch.set_rng_state(ctx.random)
        for part in _parts(*saved[:2]):
            query, key, value = (tensor[part] for tensor in saved)
            probabilities, stays, scale = scoring.of(*part).probabilities(query, key)
            gradient = gradients[0][part].to(value.dtype) * scale
            of_kept = cleared((gradient @ value.transpose(-1, -2)).to(probabilities.dtype), stays)
            of_scores = torch._softmax_backward_data(of_kept, probabilities, -1, probabilities.dtype).mul_(
                scoring.scale
            )
            to_value[part] = cleared(probabilities, stays).transpose(-1, -2) @ gradient
            to_query[part], to_key[part] = of_scores @ key, of_scores.transpose(-1, -2) @ query
        torch.set_rng_state(now)
        return to_query, to_key, to_value, None


def _parts(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Few texts or heads each: as many as the cache holds scores of."""
    texts, heads, length = query.shape[:3]
    at_once = max(1, _AT_ONCE // (length * key.shape[2]))
    some, of_each = max(1, at_once // heads), min(heads, at_once)
    for text in range(0, texts, some):
        for head in range(0, heads, of_each):
            yield slice(text, text + some), slice(head, head + of_each)
