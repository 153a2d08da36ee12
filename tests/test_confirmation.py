"""Which finalist wins, by numbers that a person can check."""

from __future__ import annotations

import math

import pytest

from autocompress.confirmation import finalists, mean, winner
from autocompress.goals import DEFAULT_OBJECTIVES, Constraint, Goals
from autocompress.ledger import Measurement, Trial
from autocompress.recipe import Recipe
from autocompress.settings import Confirm

GOALS = Goals(DEFAULT_OBJECTIVES, (Constraint.parse("score >= 0.9 * baseline"),))
BASELINE = {"score": 0.8, "latency_ms": 10.0, "size_mb": 10.0}
TWO = Confirm(top=2, seeds=3)


def measured(score: float, half: float = 0.0) -> Measurement:
    return {"score": score, "score_low": score - half, "score_high": score + half, "latency_ms": 1.0, "size_mb": 1.0}


FRONT = [Trial(n, "complete", Recipe(), measurement=measured(score)) for n, score in ((1, 0.79), (2, 0.81), (3, 0.8))]


def test_the_mean_and_both_parts_of_its_interval() -> None:
    found = mean({0: measured(0.8, 0.03), 1: measured(0.78, 0.03), 2: measured(0.76, 0.03)})
    half = math.hypot(0.03, 1.96 * 0.02 / math.sqrt(3))  # the standard deviation of the three is 0.02
    expected = {"score": 0.78, "score_low": 0.78 - half, "score_high": 0.78 + half, "seeds": 3.0}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "wins"),
    [
        ({}, 2),  # not confirmed: the first by the rule
        ({2: measured(0.75, 0.01)}, 2),  # half of the finalists: not yet
        ({2: measured(0.75, 0.01), 3: measured(0.77, 0.01)}, 3),
        ({2: measured(0.79, 0.08), 3: measured(0.77, 0.01)}, 3),  # 2 may be below 0.72, the limit
        ({2: measured(0.79, 0.08), 3: measured(0.77, 0.08)}, 2),  # both may be
        ({2: measured(0.7, 0.0), 3: measured(0.69, 0.0), 1: measured(0.9)}, 2),  # 1 is no finalist
    ],
)
def test_the_winner_goes_by_the_means_of_the_finalists(known: dict[int, Measurement], wins: int) -> None:
    assert [t.number for t in finalists("best_score", FRONT, GOALS, TWO)] == [2, 3]
    assert winner("best_score", FRONT, known, GOALS, BASELINE, TWO).number == wins


def test_without_confirmation_it_is_the_first_by_the_rule() -> None:
    assert winner("best_score", FRONT, {}, GOALS, BASELINE, Confirm(top=0)).number == 2
