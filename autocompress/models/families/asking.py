"""How an attention that adds positions to its scores asks a pattern: what is added to a pair, without all pairs.

Such a family's table names what its modules are to be once a pattern stands in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Positions = Callable[[Tensor, Tensor], Tensor]
"""Given the places of queries and of keys in their text, of shapes that go together to (...): what their scores get
besides q · k, (B or 1, H, ...). Places before the text or after it get anything."""


@dataclass(frozen=True)
class Asking:
    """What stands in front of the classes of a family's modules, whose places the table knows."""

    attention: type[nn.Module]  # of self-attentions
    stack: type[nn.Module] | None = None  # of what holds the ModuleList of layers


def put_before(module: nn.Module, cls: type[nn.Module]) -> None:
    """Make `module` one of `cls` first and of its own class next. Its parameters and copies stay what they are."""
    if not isinstance(module, cls):
        module.__class__ = type(cls.__name__, (cls, type(module)), {})


def distances(tokens: int, like: Tensor) -> Tensor:
    """From every query to every key, each once: (2 T - 1,), the middle one is 0."""
    return torch.arange(1 - tokens, tokens, device=like.device)


def by_distance(added_HD: Tensor) -> Positions:
    """What is added for the distance from query to key and nothing else, as `distances` has them."""
    middle = added_HD.shape[1] // 2
    return lambda queries, keys: added_HD[:, (keys - queries + middle).clamp(0, 2 * middle)][None]


def split(x_BTE: Tensor, head_size: int) -> Tensor:
    """What a projection gives, head by head: (B, H, T, K)."""
    return x_BTE.view(*x_BTE.shape[:-1], -1, head_size).transpose(1, 2)


def seen_by_last(mask: Tensor | None, keys_BHTK: Tensor) -> Tensor:
    """(B, T): 1 for a token, 0 for padding. The last query sees every key that is no padding, a decoder's too."""
    return torch.ones_like(keys_BHTK[:, 0, :, 0]) if mask is None else mask[:, 0, -1].to(keys_BHTK.dtype)
