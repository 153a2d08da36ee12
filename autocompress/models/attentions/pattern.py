"""What every pattern of attention is: a module without parameters, and what several of them need."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

HIDDEN = -1e9  # the score of a pair that is not attended to: a row of such scores alone is an average and not NaN


class Pattern(nn.Module):
    """`forward(q, k, v, seen, scale, causal)`: q, k, v (B, H, T, K), seen (B, T) 1 for a token, 0 for padding."""

    name: ClassVar[str]
    causal: ClassVar[bool]  # whether decoders can have it
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


def earlier(tokens: int, like: Tensor) -> Tensor:
    """(T, T): 1 for a key that comes no later than the query."""
    order = torch.arange(tokens, device=like.device)
    return (order[None] <= order[:, None]).to(like.dtype)


def softmax_product(scores: Tensor, allowed: Tensor, values: Tensor) -> Tensor:
    """The average of `values` by the softmax of scores, among what is `allowed` (1 or 0)."""
    return (scores + (1 - allowed) * HIDDEN).softmax(-1) @ values
