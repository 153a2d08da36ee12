"""What a person sees of a search."""

from __future__ import annotations

import re
import time
from io import StringIO

from rich.console import Console

from autocompress.engine.trial import Trial
from autocompress.report.terminal.display import Display
from autocompress.space.recipe import Recipe
from autocompress.trials.job import BASELINE, Job, StudyData

FIGURES = {"score": 0.5, "latency_ms": 3.0, "speedup": 1.0, "size_mb": 2.0}


def test_two_seeds_of_one_finalist_may_be_under_way_at_once() -> None:
    trial = Trial(0, "complete", Recipe.load([{"finetune": {}}]), measurement={"score": 0.5})
    first, second = (Job("train", StudyData(), 0, trial.recipe.dump(), repeat=repeat) for repeat in (1, 2))
    said = StringIO()
    with Display(Console(file=said), 1, []) as display:
        display.begin(first)
        display.begin(second)
        display.step(first, 1, 2, 0.1)
        display.confirmed(trial, 1, {"score": 0.6})
        display.step(second, 1, 2, 0.1)
        display.confirmed(trial, 2, {"score": 0.7})
    assert said.getvalue().splitlines() == [
        "t000  with seed 2 it scores 0.600, with the first 0.500",
        "t000  with seed 3 it scores 0.700, with the first 0.500",
    ]


def test_without_a_terminal_a_long_silence_is_broken_by_how_far_it_is() -> None:
    said = StringIO()
    with Display(Console(file=said), 4, [], every=0.05) as display:
        display.begin(Job("baseline", StudyData()))
        for step in range(1, 4):
            display.step(Job("baseline", StudyData()), step, 90, 0.25)
            time.sleep(0.05)
        time.sleep(0.1)
        display.finished(Trial(BASELINE, "complete", Recipe(), measurement=FIGURES))
        time.sleep(0.1)
    lines = said.getvalue().splitlines()
    training = (
        r"\d\d:\d\d; the search fine-tunes and measures the baseline, step 3 of 90, loss 0\.250, about \d+ s left; "
    )
    ends = r"0 of 4 trials trained; nothing feasible yet · 0 refused"
    assert any(re.fullmatch(training + ends, line) for line in lines), lines
    assert any(re.fullmatch(r"\d\d:\d\d; between trials; " + ends, line) for line in lines), lines
    after = said.getvalue()
    time.sleep(0.1)
    assert said.getvalue() == after, "nothing is said once it is over"


def test_a_line_that_was_just_printed_is_news_enough() -> None:
    said = StringIO()
    with Display(Console(file=said), 4, [], every=0.5) as display:
        for _ in range(7):
            display.note("something happened")
            time.sleep(0.1)
    assert set(said.getvalue().splitlines()) == {"note something happened"}


def test_a_terminal_shows_bars_and_no_such_lines() -> None:
    said = StringIO()
    with Display(Console(file=said, force_terminal=True), 4, [], every=0.01):
        time.sleep(0.1)
    assert "between trials" not in said.getvalue()


def test_a_finalist_that_fails_takes_its_bar_away_and_says_why() -> None:
    trial = Trial(0, "complete", Recipe.load([{"finetune": {}}]), measurement={"score": 0.5})
    again, seed = (
        Job("remeasure", StudyData(), 0, trial.recipe.dump()),
        Job("train", StudyData(), 0, trial.recipe.dump(), repeat=1),
    )
    said = StringIO()
    with Display(Console(file=said, width=200), 1, []) as display:
        for job in (again, seed):
            display.begin(job)
        display.unconfirmed(trial, 0, "could not be opened")
        display.unconfirmed(trial, 1, "diverged")
        assert not display.view.under_way
    assert said.getvalue().splitlines() == [
        "note t000 finetune could not be opened",
        "note t000 finetune diverged",
    ]
