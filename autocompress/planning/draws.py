"""Recipes as a search would begin with them: its anchors, then drawn at random, none twice and none at fault."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from autocompress.space import anchors
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace

_MISSES = 200  # draws in a row that were nothing new: the space is small


def draws(space: SearchSpace) -> Iterator[Recipe]:
    """One after the other, until nothing new is found."""
    chance, seen, missed = _Chance(space.search.seed), set[str](), 0
    first = iter(anchors.tried_first(space))
    while missed < _MISSES:
        recipe = next(first, None) or space.sample(chance)
        if recipe.key in seen or not recipe or recipe.fault():
            missed += 1
            continue
        seen.add(recipe.key)
        missed = 0
        yield recipe


class _Chance:
    """A `Suggest` that draws every knob evenly from its range."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            return round(math.exp(self._random.uniform(math.log(low), math.log(high))))
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return min(max(math.exp(self._random.uniform(math.log(low), math.log(high))), low), high)
        if step:
            return low + step * self._random.randrange(round((high - low) / step) + 1)
        return self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._random.choice(choices)
