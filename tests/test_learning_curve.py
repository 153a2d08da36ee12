"""What trainings are forecast to gain from a rung to their end, on numbers that a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.engine.front.learning_curve import Standing, _posterior, forecast, standing
from autocompress.space.recipe import Recipe


def at(lr: float, score: float = 0.8, **structure: float) -> Standing:
    return Standing({"lr": lr, "epochs": 0.5}, structure, score)


def test_few_finished_trials_forecast_nothing() -> None:
    assert forecast(at(-4.0), [(at(-4.0), 0.1)] * 4) is None


def test_what_all_gained_is_what_is_forecast() -> None:
    assert forecast(at(-3.0), [(at(-4.0), 0.1)] * 5) == (0.1, 0.0)


def test_gains_that_differ_by_rounding_alone_are_all_the_same() -> None:
    ends = ((0.3, 0.4), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0))
    finished = [(at(-4.0, score), end - score) for score, end in ends]
    assert 0 < np.std([gain for _, gain in finished]) < 1e-12, "they do differ"
    assert forecast(at(-4.0, 0.55), finished) == (pytest.approx(0.1), 0.0)


def test_a_forecast_follows_the_trainings_knobs() -> None:
    """Where gains depend on the learning rate it says what is usual at this one, and is surer where more were tried."""
    finished = [(at(lr), gain) for lr, gain in ((-3.0, 0.2), (-5.0, 0.0)) for _ in range(4)]
    high, low, new = (forecast(at(lr), finished) for lr in (-3.0, -5.0, -9.0))
    assert high is not None
    assert low is not None
    assert new is not None
    assert high.gain == pytest.approx(0.2, abs=0.02)
    assert low.gain == pytest.approx(0.0, abs=0.02)
    assert new.deviation > 2 * high.deviation
    assert high.at_best > high.gain


def test_a_forecast_follows_the_structure() -> None:
    """Where small models gain more than large ones, at the same knobs and scores."""
    finished = [(at(-4.0, layers=keep), gain) for keep, gain in ((-2.0, 0.1), (-0.1, 0.0)) for _ in range(4)]
    small, large = (forecast(at(-4.0, layers=keep), finished) for keep in (-2.0, -0.1))
    assert small is not None
    assert large is not None
    assert small.gain > 0.08
    assert large.gain < 0.02


def test_who_stood_there_by_luck_falls_back_and_who_had_none_does_not() -> None:
    """Every training ends at .8, and only those that stood above .8 at the rung were trained to their end."""
    luck = np.random.default_rng(0).normal(0, 0.02, 200)
    finished = [(at(-4.0, 0.8 + by), -by) for by in luck if by > 0]
    lucky, unlucky = (forecast(at(-4.0, score), finished) for score in (0.83, 0.77))
    assert lucky is not None
    assert unlucky is not None
    assert 0.83 + lucky.gain == pytest.approx(0.8, abs=0.002)
    assert 0.77 + unlucky.gain == pytest.approx(0.8, abs=0.004), "the gains of the lucky are all below 0"


def test_a_forecast_is_the_gaussian_process_of_the_book() -> None:
    """Two rows that are alike: the mean and the variance are those of a product of normal densities."""
    likelihood, mean, variance = _posterior(np.full((3, 3), 0.5), np.array([1.0, 2.0]), 0.5)
    # prior variance 1/2 in common and 1/2 each: precision 2 + 2 * 2, mean (1 + 2) * 2 / 6, plus what the new one has
    assert mean == pytest.approx(1.0)
    assert variance == pytest.approx(1 / 6 + 1 / 2)
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    by_hand = -0.5 * (1 / 0.75) * (1 - 2 + 4) - 0.5 * np.log(np.linalg.det(covariance))
    assert likelihood == pytest.approx(by_hand)


def test_where_a_recipe_stands() -> None:
    """The numbers of its last training in decades, what the steps before it keep in octaves, and the score."""
    steps = [
        {"layers": {"keep": 0.5}}, {"soft_labels": {}}, {"finetune": {"epochs": 1}}, {"neurons": {"keep": 0.25}},
        {"finetune": {"epochs": 10, "lr": 1e-3}}, {"int8_dynamic": {}},
    ]  # fmt: skip
    found = standing(Recipe.load(steps), 0.9)
    assert found.knobs["lr"] == pytest.approx(-3.0)
    assert found.knobs["epochs"] == pytest.approx(1.0)
    assert found.structure == {"layers": -1.0, "soft_labels": 0.5, "finetune": 0.5, "neurons": -2.0}
    assert found.score == 0.9
    assert standing(Recipe.load([{"int8_dynamic": {}}]), 0.9) == Standing({}, {}, 0.9)
