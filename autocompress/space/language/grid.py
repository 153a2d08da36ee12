"""Number the points of a space: every choice and every knob's value, from 0 to `size - 1`.

The points of steps that follow each other are a product, those of the options of `one_of` a sum; so a point is found by
division with remainder, without listing any. Two points may give the same recipe, and some give one that cannot work:
who walks the grid passes over them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from autocompress.space.distributions import Fixed
from autocompress.space.language import knobs
from autocompress.space.language.steps import OneOf, OpenMethod, Params, Step


def endless(steps: tuple[Step, ...]) -> list[tuple[OpenMethod, str]]:
    """The knobs that there is no end of values for: a range of floats without a step."""
    found: list[tuple[OpenMethod, str]] = []
    for step in steps:
        if isinstance(step, OneOf):
            found += [each for option in step.options for each in endless(option)]
        else:
            found += [(step, knob) for knob, d in step.knobs.items() if knobs.values(d) is None]
    return found


def points(steps: tuple[Step, ...], seed: int) -> Iterator[Params]:
    """Every point once, in an order that the seed decides; none where there is no end of them.

    The i-th is start + i * stride modulo size, where stride and size have no common factor: so each comes once, and
    none has to be remembered.
    """
    if endless(steps):
        return
    size, rng = _size(steps), random.Random(seed)
    start = rng.randrange(size)
    stride = next(s for s in iter(lambda: rng.randrange(1, size + 1), None) if math.gcd(s, size) == 1)
    yield from (_point(steps, (start + i * stride) % size) for i in range(size))


def _size(steps: tuple[Step, ...]) -> int:
    return math.prod(map(_width, steps))


def _width(step: Step) -> int:
    """How many points one step has."""
    if isinstance(step, OneOf):
        return sum(map(_size, step.options))
    return math.prod(len(knobs.values(d) or ()) for d in step.knobs.values())


def _point(steps: tuple[Step, ...], index: int) -> Params:
    """The parameters at `index`."""
    params: Params = {}
    for step in steps:
        index, place = divmod(index, _width(step))
        params |= _within(step, place)
    return params


def _within(step: Step, index: int) -> Params:
    """The parameters of one step at `index`."""
    return _option(step, index) if isinstance(step, OneOf) else _knobs(step, index)


def _option(step: OneOf, index: int) -> Params:
    for label, option in zip(step.labels, step.options, strict=True):
        if index < (size := _size(option)):
            return ({step.at: label} if len(step.labels) > 1 else {}) | _point(option, index)
        index -= size
    raise IndexError(index)


def _knobs(step: OpenMethod, index: int) -> Params:
    params: Params = {}
    for knob, distribution in step.knobs.items():
        values = knobs.values(distribution) or []
        index, place = divmod(index, len(values))
        if not isinstance(distribution, Fixed):
            params[f"{step.at}.{knob}"] = values[place]
    return params
