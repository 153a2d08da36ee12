"""Turn what a sampler decides, or decided before, into a recipe."""

from __future__ import annotations

from typing import Any

from autocompress.space.distributions import Suggest
from autocompress.space.language.steps import Params, Step
from autocompress.space.recipe import Recipe


def sample(steps: tuple[Step, ...], trial: Suggest) -> Recipe:
    """Decide every open step and knob."""
    return Recipe(method for step in steps for method in step.sample(trial))


def replay(steps: tuple[Step, ...], params: Params) -> Recipe:
    """The recipe that these parameters stand for."""
    return sample(steps, _Replay(params))


class _Replay:
    """A `Suggest` that gives what was decided before."""

    def __init__(self, params: Params) -> None:
        self._params = params

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._params[name])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._params[name])

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._params[name]
