"""Which finalist wins, by numbers that a person can check."""

from __future__ import annotations

import math

import pytest

from autocompress.engine.confirmed import mean
from autocompress.engine.front.finalists import Finalists
from autocompress.engine.trial import Trial
from autocompress.space.goals import DEFAULT_OBJECTIVES, Constraint, Goals, Measurement
from autocompress.space.recipe import Recipe

GOALS = Goals(DEFAULT_OBJECTIVES, (Constraint.parse("score >= 0.9 * baseline"),))
BASELINE = {"score": 0.8, "latency_ms": 10.0, "size_mb": 10.0}


def measured(score: float, half: float = 0.0) -> Measurement:
    return {"score": score, "score_low": score - half, "score_high": score + half, "latency_ms": 1.0, "size_mb": 1.0}


FRONT = [Trial(n, "complete", Recipe(), measurement=measured(score)) for n, score in ((1, 0.79), (2, 0.81), (3, 0.8))]


def test_the_mean_and_both_parts_of_its_interval() -> None:
    found = mean({0: measured(0.8, 0.03), 1: measured(0.78, 0.03), 2: measured(0.76, 0.03)})
    half = math.hypot(0.03, 1.96 * 0.02 / math.sqrt(3))  # the standard deviation of the three is 0.02
    expected = {"score": 0.78, "score_low": 0.78 - half, "score_high": 0.78 + half, "seeds": 3.0}
    assert found == pytest.approx(expected)


def judged(known: dict[int, Measurement], top: int = 2, goals: Goals = GOALS) -> Finalists:
    """`known`: the means of those that are confirmed."""
    means = {number: mean | {"seeds": 3.0} for number, mean in known.items()}
    every = {t.number: t.measurement | means.get(t.number, {}) for t in FRONT}
    return Finalists("best_score", tuple(FRONT), every, goals, BASELINE, top)


@pytest.mark.parametrize(
    ("known", "wins"),
    [
        ({}, 2),  # not confirmed: the first by the rule
        ({2: measured(0.75, 0.01)}, 2),  # half of the finalists: not yet
        ({2: measured(0.7, 0.01)}, 3),  # but what is known to break a limit is not chosen while another does not
        ({2: measured(0.75, 0.01), 3: measured(0.77, 0.01)}, 3),
        ({2: measured(0.79, 0.08), 3: measured(0.77, 0.01)}, 3),  # 2 may be below 0.72, the limit
        ({2: measured(0.79, 0.08), 3: measured(0.77, 0.08)}, 2),  # both may be
        ({2: measured(0.73), 3: measured(0.74), 1: measured(0.9)}, 3),  # 1 is no finalist
    ],
)
def test_the_winner_goes_by_the_means_of_the_finalists(known: dict[int, Measurement], wins: int) -> None:
    assert [t.number for t in judged(known).trials] == [2, 3]
    assert judged(known).winner.number == wins


def test_if_no_finalist_keeps_the_limits_the_next_of_the_front_is_one() -> None:
    broken = {2: measured(0.7), 3: measured(0.69)}
    assert [t.number for t in judged(broken).trials] == [2, 3, 1]
    assert judged(broken).winner.number == 1, "it keeps them, as far as it is known"
    assert judged(broken | {1: measured(0.73)}).winner.number == 1
    assert [t.number for t in judged({2: measured(0.7)}, top=1).trials] == [2, 3], "and no further"


def test_if_nothing_keeps_the_limits_the_nearest_wins_and_its_excess_is_said() -> None:
    every = {2: measured(0.6), 3: measured(0.7), 1: measured(0.65)}
    assert judged(every).winner.number == 3
    assert GOALS.excesses(every[3], BASELINE) == [
        "score >= 0.9 * baseline: 0.7, 2.8% below the limit of 0.72",
    ]
    assert GOALS.excesses(measured(0.72), BASELINE) == []


def test_a_latency_that_is_measured_again_counts_for_the_limits() -> None:
    goals = Goals(DEFAULT_OBJECTIVES, (Constraint.parse("latency_ms <= 5"),))
    slow = {"latency_ms": 5.0, "latency_ms_high": 5.5}
    found = judged({2: measured(0.81) | slow, 3: measured(0.8)}, goals=goals)
    assert found.winner.number == 3
    assert goals.excesses(found.known[2], BASELINE) == ["latency_ms <= 5: 5.5, 10% above the limit of 5"]


def test_without_confirmation_it_is_the_first_by_the_rule() -> None:
    assert judged({}, top=0).winner.number == 2
