"""The rule by which trainings are stopped, on numbers that a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.space import rungs
from autocompress.space.goals import Goals
from autocompress.space.recipe import Recipe

GOALS = Goals({"score": "maximize", "size_mb": "minimize"})
SMALL = Goals({"size_mb": "minimize"})


def test_who_loses_is_worse_in_everything_to_somebody() -> None:
    finished = {1: {"score": 0.9, "size_mb": 5.0}, 2: {"score": 0.8, "size_mb": 2.0}}
    assert rungs.losses({"score": 0.85, "size_mb": 4.0}, finished, GOALS) == [], "better than each in something"
    assert rungs.losses({"score": 0.85, "size_mb": 6.0}, finished, GOALS) == [1]
    assert rungs.losses({"score": 0.7, "size_mb": 6.0}, finished, GOALS) == [1, 2]
    assert rungs.losses({"score": 0.9, "size_mb": 5.0}, finished, GOALS) == [], "a tie is no loss"


def test_a_score_that_is_no_objective_counts_too() -> None:
    """The other one may miss a limit on score."""
    finished = {1: {"score": 0.1, "size_mb": 1.0}}
    assert rungs.losses({"score": 0.9, "size_mb": 2.0}, finished, SMALL) == []
    assert rungs.losses({"score": 0.0, "size_mb": 2.0}, finished, SMALL) == [1]


def test_what_is_not_measured_yet_stops_nobody() -> None:
    goals = Goals({"score": "maximize", "archive_mb": "minimize"})
    assert rungs.losses({"score": 0.1}, {1: {"score": 0.9, "archive_mb": 1.0}}, goals) == []


def test_few_finished_trials_forecast_nothing() -> None:
    assert rungs.forecast({"lr": -4.0}, [({"lr": -4.0}, 0.1)] * 4) is None


def test_what_all_gained_is_what_is_forecast() -> None:
    assert rungs.forecast({"lr": -3.0}, [({"lr": -4.0}, 0.1)] * 5) == (0.1, 0.0)


def test_a_forecast_follows_the_trainings_knobs() -> None:
    """Where gains depend on the learning rate it says what is usual at this one, and is surer where more were tried."""
    finished = [({"lr": lr, "epochs": 0.5}, gain) for lr, gain in ((-3.0, 0.2), (-5.0, 0.0)) for _ in range(4)]
    high, low, new = (rungs.forecast({"lr": lr, "epochs": 0.5}, finished) for lr in (-3.0, -5.0, -9.0))
    assert high is not None
    assert low is not None
    assert new is not None
    assert high.gain == pytest.approx(0.2, abs=0.02)
    assert low.gain == pytest.approx(0.0, abs=0.02)
    assert new.deviation > 2 * high.deviation
    assert high.at_best > high.gain


def test_a_forecast_is_the_gaussian_process_of_the_book() -> None:
    """Two rows that are alike: the mean and the variance are those of a product of normal densities."""
    apart = np.zeros((3, 3))
    likelihood, mean, variance = rungs._posterior(apart, np.array([1.0, 2.0]), 1.0, 0.5)
    # prior variance 1/2 in common and 1/2 each: precision 2 + 2 * 2, mean (1 + 2) * 2 / 6, plus what the new one has
    assert mean == pytest.approx(1.0)
    assert variance == pytest.approx(1 / 6 + 1 / 2)
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    by_hand = -0.5 * (1 / 0.75) * (1 - 2 + 4) - 0.5 * np.log(np.linalg.det(covariance))
    assert likelihood == pytest.approx(by_hand)


def test_the_knobs_of_a_recipe_are_the_numbers_of_its_last_training() -> None:
    recipe = Recipe.load([{"layers": {"keep": 0.5}}, {"finetune": {"epochs": 10, "lr": 1e-3}}, {"int8_dynamic": {}}])
    known = rungs.knobs(recipe)
    assert known["lr"] == pytest.approx(-3.0)
    assert known["epochs"] == pytest.approx(1.0)
    assert "keep" not in known
    assert rungs.knobs(Recipe.load([{"int8_dynamic": {}}])) == {}
    assert [m.name for m in recipe.tail] == ["int8_dynamic"]


@pytest.mark.parametrize(
    ("setting", "trials", "on"),
    [("auto", 19, False), ("auto", 20, True), ("stop", 2, True), ("watch", 2, True), ("none", 99, False)],
)
def test_when_there_are_rungs(setting: str, trials: int, on: bool) -> None:
    assert rungs.shares(setting, trials) == ((1 / 9, 1 / 3) if on else ())
