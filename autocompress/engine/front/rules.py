"""The named rules that rank a front; the first is the winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autocompress.errors import ConfigError, nearest
from autocompress.space.goals import DEFAULT_OBJECTIVES, QUANTITIES, Measurement

Front = Mapping[int, Measurement]
Rule = Callable[[Front, tuple[str, ...], int], tuple[float, ...]]  # what is lowest for the one that it prefers


def ranked(rule: str, front: Front, objectives: tuple[str, ...] = tuple(DEFAULT_OBJECTIVES)) -> list[int]:
    """The numbers of the measurements, those that `rule` prefers first. Equal ones: the lowest number."""
    if rule not in RULES:
        raise ConfigError(f"there is no rule {rule!r}. {nearest(rule, RULES, otherwise='Rules')}")
    return sorted(front, key=lambda n: (RULES[rule](front, objectives, n), n))


def best_score(front: Front, objectives: tuple[str, ...], number: int) -> tuple[float, ...]:
    """The highest score; of equal ones the fastest, then the smallest."""
    return _order(front[number], "score", "latency_ms", "size_mb")


def fastest(front: Front, objectives: tuple[str, ...], number: int) -> tuple[float, ...]:
    """The lowest latency; of equal ones the best score, then the smallest."""
    return _order(front[number], "latency_ms", "score", "size_mb")


def smallest(front: Front, objectives: tuple[str, ...], number: int) -> tuple[float, ...]:
    """The fewest bytes; of equal ones the best score, then the fastest."""
    return _order(front[number], "size_mb", "score", "latency_ms")


def knee(front: Front, objectives: tuple[str, ...], number: int) -> tuple[float, ...]:
    """Where giving up a little more of one objective stops buying much of another.

    Scale every objective over the front to 0 (worst) .. 1 (best). The extremes are then the corners (1, 0, ..),
    (0, 1, ..), ..; the knee is the point farthest beyond the line or plane through them. Its distance is
    (sum of the scaled objectives - 1) / sqrt(how many), so the largest sum wins.

    Das 1999, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary Intersection",
    Structural Optimization 18, https://doi.org/10.1007/BF01195985.
    """
    return (-round(sum(_scaled(front, number, o) for o in objectives), 12),)


RULES: dict[str, Rule] = {"best_score": best_score, "fastest": fastest, "smallest": smallest, "knee": knee}


def _cost(measurement: Measurement, objective: str) -> float:
    return measurement[objective] * (-1 if QUANTITIES[objective].better == "maximize" else 1)


def _order(measurement: Measurement, *objectives: str) -> tuple[float, ...]:
    return tuple(_cost(measurement, objective) for objective in objectives)


def _scaled(front: Front, number: int, objective: str) -> float:
    """0 for the worst of the front, 1 for the best; 0 for all where they agree."""
    costs = [_cost(measurement, objective) for measurement in front.values()]
    spread = max(costs) - min(costs)
    return (max(costs) - _cost(front[number], objective)) / spread if spread else 0.0
