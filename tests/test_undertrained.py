"""Trials that beat the baseline: how much too easy its limits are, and what to write. Only beyond noise."""

from __future__ import annotations

from autocompress.engine.front.undertrained import sentence
from autocompress.engine.trial import State, Trial
from autocompress.space.goals import DEFAULT_OBJECTIVES, Constraint, Goals, Measurement
from autocompress.space.recipe import Recipe

GOALS = Goals(DEFAULT_OBJECTIVES, (Constraint.parse("score >= 0.9 * baseline"), Constraint.parse("size_mb <= 20")))
BASELINE: Measurement = {"score": 0.8, "size_mb": 90.0}


def trial(number: int, score: float, low: float, high: float, state: State = "complete") -> Trial:
    measured = {"score": score, "score_low": low, "score_high": high}
    return Trial(number, state, Recipe.load([{"finetune": {}}]), measurement=measured)


def test_what_is_better_within_noise_is_not_spoken_of() -> None:
    trials = [trial(0, 0.83, 0.799, 0.86), trial(1, 0.7, 0.6, 0.8), trial(2, 0.9, 0.85, 0.95, "stopped")]
    assert sentence(trials, {}, BASELINE, GOALS, "advice") == ""


def test_what_is_better_beyond_noise_says_by_how_much_and_what_to_write() -> None:
    trials = [trial(0, 0.82, 0.81, 0.83), trial(4, 0.84, 0.81, 0.87), trial(5, 0.9, 0.79, 0.99)]
    assert sentence(trials, {}, BASELINE, GOALS, "give the teacher more epochs") == (
        "t004 finetune scores 0.040 more than the baseline (0.010 to 0.070): the baseline is undertrained, so limits "
        "relative to its score are too easy by 5.0%. In a study of its own write `score >= 0.945 * baseline` for "
        "`score >= 0.9 * baseline`, or give the teacher more epochs."
    )


def test_the_means_over_several_seeds_count_instead() -> None:
    again = {4: {"score": 0.81, "score_low": 0.78, "score_high": 0.84}}
    assert sentence([trial(4, 0.84, 0.81, 0.87)], again, BASELINE, GOALS, "advice") == ""


def test_without_a_relative_limit_only_the_advice_is_given() -> None:
    said = sentence([trial(4, 0.84, 0.81, 0.87)], {}, BASELINE, Goals(DEFAULT_OBJECTIVES), "give it another lr")
    assert said.endswith("too easy by 5.0%. In a study of its own give it another lr.")
