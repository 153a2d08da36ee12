from __future__ import annotations

import pytest

from autocompress.search.budget import Budget
from autocompress.search.trial import State, Trial
from autocompress.search.trial_table import Standing
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals
from autocompress.space.recipe import Recipe


def standing(*states: State, train: float = 0.0, variant_of: int | None = None) -> Standing:
    trials = [
        Trial(
            i,
            state,
            Recipe.load([{"finetune": {"epochs": i + 1}}]),
            seconds={"train": train},
            variant_of=variant_of,
            violations={"size_mb <= 1": 1.0},
        )
        for i, state in enumerate(states)
    ]
    return Standing(trials, Goals(DEFAULT_OBJECTIVES))


def test_charged_are_those_that_began_training_for_themselves() -> None:
    assert Budget(3).met(standing("complete", "stopped", "failed"))
    assert not Budget(3).met(standing("complete", "stopped", "running", "refused", "duplicate"))
    assert not Budget(1).met(standing("complete", variant_of=7))


def test_those_under_way_are_waited_for() -> None:
    assert Budget(2).waits(standing("complete", "running"))
    assert not Budget(3).waits(standing("complete", "running"))
    assert not Budget(2).waits(standing("complete", "refused"))
    assert not Budget(1).waits(standing("running", variant_of=7)), "a variant takes no place in the budget"


def test_time_and_hours_of_training_end_it() -> None:
    assert Budget(9, deadline=5.0, clock=lambda: 6.0).over(standing("complete"), None) == "the time is up"
    assert Budget(9, deadline=5.0, clock=lambda: 4.0).over(standing("complete"), None) == ""
    used = standing("complete", "failed", train=30.0)
    assert Budget(9, training_seconds=60.0).over(used, None) == "the hours of training are used up"
    assert Budget(9, training_seconds=61.0).over(used, None) == ""


def test_a_space_that_has_an_end_ends_it() -> None:
    assert (
        Budget(9).over(standing("complete", "refused"), 2) == "the space is exhausted: all 2 of its recipes were tried"
    )
    assert Budget(9).over(standing("complete", "refused"), 3) == ""


def test_it_ends_when_nothing_new_is_left_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.search.budget._MOST_IDLE", 4)
    said = "the last 4 recipes left nothing new to train: each was refused or trained before"
    assert Budget(9).over(standing("complete", "refused", "duplicate", "duplicate", "refused"), None) == said
    assert Budget(9).over(standing("complete", "refused", "duplicate", "duplicate"), None) == ""
    assert Budget(9).over(standing("refused", "duplicate", "failed", "duplicate", "refused"), None) == ""
    assert Budget(9).over(standing(*["complete"] * 4, variant_of=7), None) == said, "trained by t007"
    assert Budget(9, variants=2).over(standing(*["complete"] * 4, variant_of=7), None) == "", "2 were asked for"
