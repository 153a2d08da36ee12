"""What the parallel coordinates show: an axis for each knob that decides most and for each objective, and on each a
place for every measured recipe.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from autocompress.report.findings import knobs, worth
from autocompress.report.findings.gather import Findings
from autocompress.report.findings.quantities import called
from autocompress.space.goals import QUANTITIES

_MOST_KNOBS = 8
_GAP = 0.18  # between "without" at the bottom and the least value
_DECADE = 10.0  # what spans more than this is shown by its logarithm
_MOST_WORDS, _APART = 6, 0.07  # beside one axis, and how far from each other
_LOW = {"without": 0, "no": 1}  # what is at the bottom of an axis of words


class Coordinate(NamedTuple):
    """`places`: of each measured recipe, between 0 at the bottom and 1. `ticks`: place -> what stands there."""

    title: str
    places: list[float]
    ticks: dict[float, str]
    values: list[str]  # of each recipe, as text


def axes(findings: Findings) -> list[Coordinate]:
    """The knobs, then the objectives, of which the better end is at the top."""
    rows = findings.rows
    found = [_axis(name.replace(".", "<br>"), [row.get(name) for row in rows]) for name in chosen(findings)]
    for name in findings.goals.objectives:
        axis = _axis(called(name), [t.measurement[name] for t in findings.measured], form=".4g")
        found.append(_upside_down(axis) if QUANTITIES[name].better == "minimize" else axis)
    return found


def chosen(findings: Findings) -> list[str]:
    """The columns that decide most; where that is not known, the first ones."""
    names = worth.ranked(findings.importances) or list(dict.fromkeys(name for row in findings.rows for name in row))
    return names[:_MOST_KNOBS]


def _axis(title: str, values: list[knobs.Value | None], form: str = ".3g") -> Coordinate:
    """None: the recipe does not have the method whose knob it is."""
    numbers = [v for v in values if isinstance(v, float)]
    told = ["without" if v is None else f"{v:{form}}" if isinstance(v, float) else knobs.text(v) for v in values]
    if not numbers or len(numbers) + values.count(None) < len(values):
        words = sorted(set(told), key=lambda word: (_LOW.get(word, len(_LOW)), word))
        at = {word: i / max(len(words) - 1, 1) for i, word in enumerate(words)}
        return Coordinate(title, [at[word] for word in told], {at[word]: word for word in words}, told)
    low, high, bottom = min(numbers), max(numbers), _GAP if None in values else 0.0
    log = low > 0 and high / low > _DECADE

    def place(value: float) -> float:
        a, b, v = (math.log(x) if log else x for x in (low, high, value))
        return bottom + (1 - bottom) * ((v - a) / (b - a) if b > a else 0.5)

    shown = sorted(set(numbers)) if len(set(numbers)) <= _MOST_WORDS else [low, high]
    ticks = _apart({place(v): f"{v:{form}}" for v in shown}) | ({0.0: "without"} if bottom else {})
    return Coordinate(title, [place(v) if isinstance(v, float) else 0.0 for v in values], ticks, told)


def _apart(ticks: dict[float, str]) -> dict[float, str]:
    """Those that can be read beside each other: the ends, and of the others what is far enough from its neighbours."""
    *rest, highest = sorted(ticks)
    kept = list[float]()
    for place in rest:
        if highest - place >= _APART and (not kept or place - kept[-1] >= _APART):
            kept.append(place)
    return {place: ticks[place] for place in [*kept, highest]}


def _upside_down(axis: Coordinate) -> Coordinate:
    return axis._replace(places=[1 - p for p in axis.places], ticks={1 - p: word for p, word in axis.ticks.items()})
