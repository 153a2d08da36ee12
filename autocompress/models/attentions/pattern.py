"""What every pattern of attention is: a module without parameters, and what several of them need."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autocompress.models.families.asking import Positions

HIDDEN = -1e9  # the score of a pair that is not attended to: a row of such scores alone is an average and not NaN


class Pattern(nn.Module):
    """`forward(q, k, v, seen, scale, causal, positions)`: q, k, v (B, H, T, K), seen (B, T) 1 for a token.

    seen is 0 for padding; positions is what is added to the scores of pairs, if anything.
    """

    name: ClassVar[str]
    causal: ClassVar[bool]  # whether decoders can have it
    pairs: ClassVar[bool]  # whether it scores single pairs of tokens: to which alone positions can be added
    fields: ClassVar[tuple[str, ...]]  # whole numbers or words that say all of it

    def __init__(self, **knobs: Any) -> None:
        super().__init__()
        self.knobs = knobs

    @classmethod
    def legal(cls, knobs: dict[str, Any]) -> bool:
        """Whether these are numbers that it can have: what a file says is not trusted."""
        return all(isinstance(value, int) and 0 <= value < 2**20 for value in knobs.values())

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.knobs.items())


def in_blocks(x_BHTK: Tensor, size: int) -> Tensor:
    """(B, H, N, size, K), the last block filled up with zeros. N may be known only when the model runs."""
    tokens = x_BHTK.shape[2]
    filled = torch.cat([x_BHTK, x_BHTK.new_zeros(*x_BHTK.shape[:2], size, x_BHTK.shape[3])], 2)
    whole = (tokens + size - 1) // size * size
    return filled[:, :, :whole].reshape(*x_BHTK.shape[:2], -1, size, x_BHTK.shape[3])


def with_positions(scores: Tensor, positions: Positions | None, queries: Tensor, keys: Tensor) -> Tensor:
    """The scores of tokens at those places, and what is added for where they stand."""
    return scores if positions is None else scores + positions(queries, keys)


def places(count: int, like: Tensor) -> Tensor:
    """0, 1, 2, ... (`count` of them)."""
    return torch.arange(count, device=like.device)


def softmax_product(scores: Tensor, allowed: Tensor, values: Tensor) -> Tensor:
    """The average of `values` by the softmax of scores, among what is `allowed` (1 or 0)."""
    return (scores + (1 - allowed) * HIDDEN).softmax(-1) @ values


def product_of_first(
    count: int, qkv: tuple[Tensor, Tensor, Tensor], seen_BT: Tensor, causal: bool, positions: Positions | None
) -> Tensor:
    """What the first `count` tokens read, who attend to all: (B, H, count, K). The queries are scaled."""
    q, k, v = qkv
    own, others = places(q.shape[2], q)[:count, None], places(k.shape[2], q)
    scores = with_positions(q[:, :, :count] @ k.transpose(-1, -2), positions, own, others)
    allowed = seen_BT[:, None, None].expand_as(scores)
    if causal:
        allowed = allowed * (others <= own).to(q.dtype)
    return softmax_product(scores, allowed, v)
