"""How good what was found was after so many charged trials and so many seconds: its hypervolume.

The volume is measured from the worst that the limits allow (where there is no limit, from the baseline; for a score
from 0), as a share of the box between that corner and the best there could be: no bytes, no time, a score of 1; of
other quantities that should be high, twice the corner's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autocompress.engine.front.hypervolume import hypervolume
from autocompress.engine.trial import Trial
from autocompress.space.goals import Cost, Goals, Measurement, dominates

PROGRESS = "progress.jsonl"  # in the study's folder


@dataclass(frozen=True)
class Point:
    """The state of a search when a trial had ended."""

    trials: int  # charged
    seconds: float  # into the search
    hypervolume: float


class Growth:
    """The volume trial by trial, in the order in which they end. Noise is not looked at: it only grows."""

    def __init__(self, goals: Goals, baseline: Measurement) -> None:
        self._goals = goals
        self._corner, self._box = _scale(goals, baseline)
        self._charged, self._best = 0, set[Cost]()

    def take(self, trial: Trial) -> Point | None:
        """The point that it adds: if it was charged, or is better than all before it in some way."""
        self._charged += trial.charged
        better = trial.feasible and _take_in(self._best, self._goals.costs(trial.measurement))
        if not (trial.charged or better):
            return None
        return Point(self._charged, trial.ended, hypervolume(self._best, self._corner) / self._box)


class Progress:
    """The points of a search, one for every trial that was charged or is better than all before it in some way."""

    def __init__(self, goals: Goals, baseline: Measurement) -> None:
        self._goals, self._baseline = goals, baseline

    def points(self, trials: Iterable[Trial]) -> list[Point]:
        """From the beginning, in the order in which the trials ended."""
        growth = Growth(self._goals, self._baseline)
        points = (growth.take(trial) for trial in sorted(trials, key=lambda t: t.ended))
        return [point for point in points if point]


def _take_in(best: set[Cost], mine: Cost) -> bool:
    """Keep the points that no other one dominates. Whether `mine` is one, and new."""
    if mine in best or any(dominates(other, mine) for other in best):
        return False
    best -= {other for other in best if dominates(mine, other)}
    best.add(mine)
    return True


def write(points: Iterable[Point], place: Path) -> None:
    """One line a point, as the tracking of curves reads it; whole or not at all."""
    rows = [{"step": p.trials, "search/seconds": p.seconds, "search/hypervolume": p.hypervolume} for p in points]
    draft = place.with_suffix(".draft")
    draft.write_text("".join(json.dumps(row) + "\n" for row in rows))
    draft.replace(place)


def _scale(goals: Goals, baseline: Measurement) -> tuple[tuple[float, ...], float]:
    """The corner, as costs, and the volume of the box between it and the best there could be."""
    corner, box = [], 1.0
    for name, direction in goals.objectives.items():
        limits = [c.limit(baseline) for c in goals.constraints if c.quantity == name]
        if direction == "minimize":
            worst = min(limits, default=baseline[name])
            box *= worst
        else:
            worst = max(limits, default=0.0 if name == "score" else baseline[name])
            box *= 1 - worst if name == "score" else worst
        corner.append(worst if direction == "minimize" else -worst)
    return tuple(corner), box if box > 0 else math.inf
