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

from autocompress.space.goals import QUANTITIES, Direction, Goals, Measurement

Difference = Callable[[int, int], tuple[float, float] | None]
"""Of two trials by number: how much better the first one scores on the same texts, and the standard error of that.
None: it is not known what they answered."""

_NORMAL = 1.96  # standard errors on either side of a 95 % interval
_ROUNDING = 1e-9
_NOBODY = -2  # no trial's number


def unknown(one: int, other: int) -> None:
    """The difference where nobody knows what trials answered: their intervals are compared."""


class Front:
    """Of the trials that were added, by number. Who is feasible is the caller's to say."""

    def __init__(self, goals: Goals, difference: Difference = unknown) -> None:
        self._goals = goals
        self._difference = difference
        self._measured: dict[int, Measurement] = {}
        self._intervals: dict[int, list[tuple[float, float]]] = {}  # of all objectives but the score, low is good
        self._places: dict[int, tuple[float, int]] = {}
        self._order: list[tuple[float, int]] = []  # the best on the whole first
        self._kept: list[int] = []  # in that order, as far as it is settled
        self._settled = 0  # places in the order

    def __contains__(self, number: int) -> bool:
        """Whether it was added."""
        return number in self._measured

    def add(self, number: int, measurement: Measurement) -> None:
        """What it beats leaves the front; what only that had beaten comes back."""
        others = [(o, d) for o, d in self._goals.objectives.items() if o != "score"]
        self._measured[number] = measurement
        self._intervals[number] = [_interval(measurement, name, direction) for name, direction in others]
        place = self._places[number] = _cost(self._goals, measurement), number
        insort(self._order, place)
        at = self._order.index(place)
        if at < self._settled and self._is_beaten(number, before=place):
            self._settled += 1
        else:
            self._settled = min(self._settled, at)

    @property
    def numbers(self) -> set[int]:
        """Who is on the front. Settled when asked for: of many that are added at once, once."""
        if self._settled < len(self._order):
            before = self._order[self._settled]
            self._kept = [n for n in self._kept if self._places[n] < before]
            for _, number in self._order[self._settled :]:
                if not any(self.beats(better, number) for better in self._kept):
                    self._kept.append(number)
            self._settled = len(self._order)
        return set(self._kept)

    def beaten_by(self, measurement: Measurement) -> set[int]:
        """Who on the front would beat one that measured this, whose answers are not known."""
        beaten = Front(self._goals)
        beaten.add(_NOBODY, measurement)
        found = set[int]()
        for number in self.numbers:
            beaten.add(number, self._measured[number])
            if beaten.beats(number, _NOBODY):
                found.add(number)
        return found

    def _is_beaten(self, number: int, before: tuple[float, int]) -> bool:
        """By one on the front: then it changes nothing for those that come after it."""
        return any(self._places[better] < before and self.beats(better, number) for better in self._kept)

    def beats(self, one: int, other: int) -> bool:
        """Whether `one` is better on the whole, beyond noise in an objective, and worse beyond noise in none."""
        pairs = list(zip(self._intervals[one], self._intervals[other], strict=True))
        if self._places[one] > self._places[other] or any(theirs[1] < mine[0] for mine, theirs in pairs):
            return False
        better = any(mine[1] < theirs[0] for mine, theirs in pairs)
        if "score" not in self._goals.objectives:
            return better
        sign = 1 if self._goals.objectives["score"] == "maximize" else -1
        if better and sign * (self._measured[one]["score"] - self._measured[other]["score"]) >= 0:
            return True  # whatever the noise is, which takes long to find out
        gain, error = self._difference(one, other) or _unpaired(self._measured[one], self._measured[other])
        gain *= sign
        return gain >= -error - _ROUNDING and (better or gain > error + _ROUNDING)


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


def _interval(measurement: Measurement, name: str, direction: Direction) -> tuple[float, float]:
    """Its 95 % interval; where it has none, the value and half of what is noise in it on either side. Low is good."""
    value = measurement[name]
    half = abs(value) * QUANTITIES[name].noise / 2
    low, high = measurement.get(f"{name}_low", value - half), measurement.get(f"{name}_high", value + half)
    return (low, high) if direction == "minimize" else (-high, -low)


def _unpaired(one: Measurement, other: Measurement) -> tuple[float, float]:
    """The difference of two scores of which only the intervals are known: studies of earlier versions."""
    halves = [(m.get("score_high", m["score"]) - m.get("score_low", m["score"])) / 2 for m in (one, other)]
    return one["score"] - other["score"], math.hypot(*halves) / _NORMAL
