"""The rule by which trainings are stopped, on numbers that a person can check."""

from __future__ import annotations

import pytest

from autocompress.engine.front.stopping import losses
from autocompress.space import rungs
from autocompress.space.goals import Goals

GOALS = Goals({"score": "maximize", "size_mb": "minimize"})
SMALL = Goals({"size_mb": "minimize"})


def test_who_loses_is_worse_in_everything_to_somebody() -> None:
    finished = {1: {"score": 0.9, "size_mb": 5.0}, 2: {"score": 0.8, "size_mb": 2.0}}
    assert losses({"score": 0.85, "size_mb": 4.0}, finished, GOALS) == [], "better than each in something"
    assert losses({"score": 0.85, "size_mb": 6.0}, finished, GOALS) == [1]
    assert losses({"score": 0.7, "size_mb": 6.0}, finished, GOALS) == [1, 2]
    assert losses({"score": 0.9, "size_mb": 5.0}, finished, GOALS) == [], "a tie is no loss"


def test_a_score_that_is_no_objective_counts_too() -> None:
    """The other one may miss a limit on score."""
    finished = {1: {"score": 0.1, "size_mb": 1.0}}
    assert losses({"score": 0.9, "size_mb": 2.0}, finished, SMALL) == []
    assert losses({"score": 0.0, "size_mb": 2.0}, finished, SMALL) == [1]


def test_what_is_not_measured_yet_stops_nobody() -> None:
    goals = Goals({"score": "maximize", "archive_mb": "minimize"})
    assert losses({"score": 0.1}, {1: {"score": 0.9, "archive_mb": 1.0}}, goals) == []


@pytest.mark.parametrize(
    ("setting", "trials", "on"),
    [("auto", 19, False), ("auto", 20, True), ("stop", 2, True), ("watch", 2, True), ("none", 99, False)],
)
def test_when_there_are_rungs(setting: str, trials: int, on: bool) -> None:
    assert rungs.shares(setting, trials) == ((1 / 9, 1 / 3) if on else ())
