"""Texts written on, token by token: always the likeliest one, until the text ends, or there are enough.

What a text has so far is read once. Each further token is read by itself, beside what the session remembers. Texts of a
batch are filled up at their beginnings, where the model looks away, so that all go on at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autocompress.errors import ConfigError, short
from autocompress.models.decoders.remembered import past_of
from autocompress.runtimes.runtime import Session

USUAL = 32  # tokens that are written where nothing is said
_MOST = 4096


def checked_count(count: object) -> int:
    """How many tokens to write at most. Raises `ConfigError`."""
    if type(count) is not int or not 1 <= count <= _MOST:
        raise ConfigError(f"max_new_tokens should be a whole number from 1 to {_MOST}. Got {short(count)}.")
    return count


def continuations(
    session: Session, prompts: Sequence[Sequence[int]], count: int, ends: frozenset[int], longest: int
) -> list[list[int]]:
    """For each of N texts the tokens that follow, at most `count`, without the one of `ends` that ended it.

    `longest`: tokens that the model can read. A text that fills that gets one token more.
    """
    left_N = np.array([min(count, longest - len(prompt) + 1) for prompt in prompts])
    batch, found = _beginning(prompts), list[list[int]]([] for _ in prompts)
    past: dict[str, Any] = {}
    while True:
        outputs = session.outputs({**batch, **past})
        next_N = outputs["logits"][:, -1].argmax(-1)
        goes_on_N = (left_N > 0) & ~np.isin(next_N, list(ends))
        for row in goes_on_N.nonzero()[0]:
            found[row].append(int(next_N[row]))
        left_N = np.where(goes_on_N, left_N - 1, 0)
        if not left_N.any():
            return found
        past, on_N = past_of(outputs), left_N > 0
        batch = {  # a text that is done reads a token that nobody looks at, and comes no further
            "input_ids": np.where(on_N, next_N, 0)[:, None], "asked": np.array([0]),
            "attention_mask": np.concatenate([batch["attention_mask"], on_N[:, None].astype(np.int64)], 1),
        }  # fmt: skip


def _beginning(prompts: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    length = max(map(len, prompts))
    ids_NT, read_NT = np.zeros((2, len(prompts), length), np.int64)
    for row, prompt in enumerate(prompts):
        ids_NT[row, length - len(prompt) :], read_NT[row, length - len(prompt) :] = prompt, 1
    return {"input_ids": ids_NT, "attention_mask": read_NT, "asked": np.array([length - 1])}
