"""What may follow a training: the recipes of a space that are trained alike and differ only in the steps after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autocompress.space.distributions import Distribution, Fixed
from autocompress.space.language import grid, knobs
from autocompress.space.language.replay import replay
from autocompress.space.language.steps import OneOf, OpenMethod, Params, Step
from autocompress.space.method import find
from autocompress.space.recipe import Recipe


def tails(steps: tuple[Step, ...], params: Params, seed: int) -> Iterator[Recipe]:
    """Every recipe that has these parameters up to its last training and any after it, in an order the seed decides.

    A knob with no end of values takes the one nearest to its default.
    """
    end = max((i + 1 for i, step in enumerate(steps) if _may_train(step)), default=0)
    seen = set()
    for point in grid.points(tuple(map(_with_end, steps[end:])), seed):
        recipe = replay((*steps[:end], *map(_with_end, steps[end:])), params | point)
        if recipe.key not in seen and recipe.fault() is None:
            seen.add(recipe.key)
            yield recipe


def _may_train(step: Step) -> bool:
    if isinstance(step, OneOf):
        return any(_may_train(each) for option in step.options for each in option)
    return find(step.name).trains


def _with_end(step: Step) -> Step:
    """The same step, its knobs with no end of values fixed."""
    if isinstance(step, OneOf):
        return replace(step, options=tuple(tuple(map(_with_end, option)) for option in step.options))
    return replace(step, knobs={knob: _finite(step, knob, d) for knob, d in step.knobs.items()})


def _finite(step: OpenMethod, knob: str, distribution: Distribution) -> Distribution:
    if knobs.values(distribution) is not None:
        return distribution
    return Fixed(knobs.closest(distribution, find(step.name).model_fields[knob].default))
