from __future__ import annotations

import pytest

from autocompress.engine.budget import Budget
from autocompress.engine.trial import State, Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals
from autocompress.space.recipe import Recipe


def table(*states: State, train: float = 0.0, variant_of: int | None = None) -> TrialTable:
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
    return TrialTable(trials, Goals(DEFAULT_OBJECTIVES))


def test_charged_are_those_that_began_training_for_themselves() -> None:
    assert Budget(3).met(table("complete", "stopped", "failed"))
    assert not Budget(3).met(table("complete", "stopped", "running", "refused", "duplicate"))
    assert not Budget(1).met(table("complete", variant_of=7))


def test_those_under_way_are_waited_for() -> None:
    assert Budget(2).waits(table("complete", "running"))
    assert not Budget(3).waits(table("complete", "running"))
    assert not Budget(2).waits(table("complete", "refused"))
    assert not Budget(1).waits(table("running", variant_of=7)), "a variant takes no place in the budget"


def test_time_and_hours_of_training_end_it() -> None:
    assert Budget(9, deadline=5.0, clock=lambda: 6.0).over(table("complete"), None) == "the time is up"
    assert Budget(9, deadline=5.0, clock=lambda: 4.0).over(table("complete"), None) == ""
    used = table("complete", "failed", train=30.0)
    assert Budget(9, training_seconds=60.0).over(used, None) == "the hours of training are used up"
    assert Budget(9, training_seconds=61.0).over(used, None) == ""


def test_a_space_that_has_an_end_ends_it() -> None:
    assert Budget(9).over(table("complete", "refused"), 2) == "the space is exhausted: all 2 of its recipes were tried"
    assert Budget(9).over(table("complete", "refused"), 3) == ""


def test_it_ends_when_nothing_new_is_left_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.engine.budget._MOST_IDLE", 4)
    said = "the last 4 recipes left nothing new to train: each was refused or trained before"
    assert Budget(9).over(table("complete", "refused", "duplicate", "duplicate", "refused"), None) == said
    assert Budget(9).over(table("complete", "refused", "duplicate", "duplicate"), None) == ""
    assert Budget(9).over(table("refused", "duplicate", "failed", "duplicate", "refused"), None) == ""
    assert Budget(9).over(table(*["complete"] * 4, variant_of=7), None) == said, "trained by t007"
    assert Budget(9, variants=2).over(table(*["complete"] * 4, variant_of=7), None) == "", "2 were asked for"
