"""Which trials are better than others beyond noise, and the front: those that no other one on it beats.

`one` beats `other` if it is better beyond noise in an objective, worse beyond noise in none, and better on the whole.
Noise is

- in the score: one standard error of the difference on the same texts. Of two models whose scores are that close the
  smaller or faster one is preferred: the one-standard-error rule of Breiman et al. 1984, "Classification and Regression
  Trees", section 3.4.3. With two of them, what is clearly better in score would leave the front too easily.
- in what has an interval, such as the latency: overlapping intervals.
- in anything else: a share of it (`Quantity.noise`).

On the whole: all objectives added up, 1 % of a quantity weighing as much as 0.01 of score. Without that, noise could
make A beat B, B beat C and C beat A, and the front empty. Nor do small steps add up: where A beats B, B beats C, and C
is better than A in score beyond noise, C stays. For the trials are gone through from the one that is best on the whole,
and each is taken to the front unless one that is there beats it. So whatever is off the front is beaten by one on it,
and the front does not depend on the order in which trials ended.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Mapping

from autocompress.goals import QUANTITIES, Goals
from autocompress.ledger import Measurement

Difference = Callable[[int, int], tuple[float, float] | None]
"""Of two trials by number: how much better the first one scores on the same texts, and the standard error of that.
None: it is not known what they answered."""

_NORMAL = 1.96  # standard errors on either side of a 95 % interval
_ROUNDING = 1e-9


def unknown(one: int, other: int) -> None:
    """The difference where nobody knows what trials answered: their intervals are compared."""


class Front:
    """Of the trials that were added, by number. Who is feasible is the caller's to say."""

    def __init__(self, goals: Goals, difference: Difference = unknown) -> None:
        self._goals = goals
        self._difference = difference
        self._order: list[tuple[float, int]] = []  # the best on the whole first
        self._measured: dict[int, Measurement] = {}
        self._places: dict[int, tuple[float, int]] = {}
        self.numbers: set[int] = set()

    def __contains__(self, number: int) -> bool:
        """Whether it was added."""
        return number in self._measured

    def add(self, number: int, measurement: Measurement) -> None:
        """What it beats leaves the front; what only that had beaten comes back."""
        self._measured[number] = measurement
        place = self._places[number] = _cost(self._goals, measurement), number
        insort(self._order, place)
        at = self._order.index(place)
        kept = [n for _, n in self._order[:at] if n in self.numbers]
        if any(self.beats(n, number) for n in kept):
            return
        for _, n in self._order[at:]:
            if not any(self.beats(better, n) for better in kept):
                kept.append(n)
        self.numbers = set(kept)

    def beats(self, one: int, other: int) -> bool:
        """Whether `one` is better on the whole, beyond noise in an objective, and worse beyond noise in none."""
        objectives = self._goals.objectives
        if self._places[one] > self._places[other] or not any(self._better(one, other, o) for o in objectives):
            return False
        return not any(self._better(other, one, o) for o in objectives)

    def _better(self, one: int, other: int, objective: str) -> bool:
        """Whether `one` is better in this objective beyond noise."""
        low_is_good = self._goals.objectives[objective] == "minimize"
        mine, theirs = self._measured[one], self._measured[other]
        if objective == "score":
            gain, error = self._difference(one, other) or _unpaired(mine, theirs)
            return (-gain if low_is_good else gain) > error + _ROUNDING
        (low, high), (their_low, their_high) = _interval(mine, objective), _interval(theirs, objective)
        return high < their_low if low_is_good else low > their_high


def front(measurements: Mapping[int, Measurement], goals: Goals, difference: Difference = unknown) -> set[int]:
    """The numbers of those on the front."""
    found = Front(goals, difference)
    for number, measurement in measurements.items():
        found.add(number, measurement)
    return found.numbers


def _cost(goals: Goals, measurement: Measurement) -> float:
    """On the whole: the logarithms of what should be low, minus those of what should be high and the score itself."""
    total = 0.0
    for objective, direction in goals.objectives.items():
        value = measurement[objective]
        worth = value if objective == "score" else math.log(max(value, 1e-9))
        total += worth if direction == "minimize" else -worth
    return round(total, 12)


def _interval(measurement: Measurement, name: str) -> tuple[float, float]:
    """Its 95 % interval; where it has none, the value and half of what is noise in it on either side."""
    value = measurement[name]
    half = abs(value) * QUANTITIES[name].noise / 2
    return measurement.get(f"{name}_low", value - half), measurement.get(f"{name}_high", value + half)


def _unpaired(one: Measurement, other: Measurement) -> tuple[float, float]:
    """The difference of two scores of which only the intervals are known: studies of earlier versions."""
    halves = [(m.get("score_high", m["score"]) - m.get("score_low", m["score"])) / 2 for m in (one, other)]
    return one["score"] - other["score"], math.hypot(*halves) / _NORMAL
