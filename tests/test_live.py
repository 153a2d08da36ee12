"""What a person sees of a search."""

from __future__ import annotations

import re
import time
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from autocompress.engine.trial import Trial
from autocompress.report.terminal.display import Display
from autocompress.report.terminal.drawing import drawn, sparks
from autocompress.report.terminal.lines import status
from autocompress.report.terminal.view import SearchView
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals
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


def test_a_trial_that_waits_for_another_is_in_no_workers_hand() -> None:
    with Display(Console(file=StringIO()), 1, []) as display:
        display.begin(Job("rehearse", StudyData(), 3))
        display.waits(Trial(3, "running", Recipe()))
        assert not display.view.under_way


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


@pytest.mark.parametrize("terminal", [False, True])
def test_a_trial_that_ended_leaves_a_line(terminal: bool) -> None:
    said = StringIO()
    with Display(Console(file=said, width=60, force_terminal=terminal), 4, []) as display:
        display.finished(ended(3, front=True))
    lines = re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", said.getvalue()).splitlines()
    if terminal:
        assert "t003  0.500 3.00 ms (1.00x) 2.0 MB  feasible, on the front" in [line.strip() for line in lines]
        assert "      layers 0.5 + finetune" in [line.rstrip() for line in lines], "wrapped beside the name"
    else:
        assert lines == ["t003  layers 0.5 + finetune  0.500 3.00 ms (1.00x) 2.0 MB  feasible, on the front"]


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


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


RECIPE = Recipe.load([{"layers": {"keep": 0.5}}, {"finetune": {"epochs": 3}}])
LIMIT = "size_mb <= 1"


def ended(number: int, **facts: Any) -> Trial:
    return Trial(**{"number": number, "state": "complete", "recipe": RECIPE, "measurement": FIGURES} | facts)


def searched(clock: Clock) -> SearchView:
    """A view of two workers in the middle of a search of ten trials, of which an earlier run made one."""
    view = SearchView(10, [ended(0, ended=1.0)], Goals(DEFAULT_OBJECTIVES), clock=clock)
    view.finished(ended(BASELINE))
    better = FIGURES | {"score": 0.6, "latency_ms": 2.5, "size_mb": 1.9}
    for trial in (
        ended(1, measurement=better), ended(2, measurement=FIGURES | {"latency_ms": 1.5}),
        ended(3, state="refused", violations={LIMIT: 1.0, "score >= 1": -1.0}), ended(4, state="refused"),
        ended(5, state="stopped", rungs={"0.111": 0.4}), ended(6, state="failed"),
    ):  # fmt: skip
        clock.now += 30
        view.begin(Job("train", StudyData(), trial.number, RECIPE.dump()))
        if trial.number != 2:
            view.step(Job("train", StudyData(), trial.number), 1, 9, 0.5)
        view.finished(trial)
    train = Job("train", StudyData(), 7, RECIPE.dump(), share=1 / 3)
    view.begin(train)
    view.begin(Job("rehearse", StudyData(), 8, RECIPE.dump()))
    for step in (1, 5):
        clock.now += 1
        view.step(train, step, 9, 0.25)
    return view


def test_a_view_counts_what_became_of_trials_and_what_goes_on() -> None:
    view = searched(Clock())
    assert (view.charged, view.cached, view.failed) == (5, 1, 1)
    assert view.refused == {"size_mb": 1, "not applicable": 1}
    assert view.stopped == {"11%": 1}
    assert {name: t.number for name, t in view.best().items()} == {"score": 1, "latency_ms": 2, "size_mb": 1}
    assert len(view.volumes) == 5
    assert view.volumes == sorted(view.volumes)
    assert view.under_way[7, 0].epoch == (2, 3), "step 5 of 9 is the second step of the second epoch"
    assert view.under_way[7, 0].left == 1.0
    assert view.under_way[8, 0].epoch is None
    assert view.seconds_left == 182 / 4 * 5, "of what the trials of this run took"


def test_a_search_that_ends_by_the_clock_says_when() -> None:
    clock = Clock()
    view = SearchView(10, [], ends_in=60, clock=clock)
    clock.now = 20
    assert view.seconds_left == 40


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_is_drawn_at_any_width(width: int) -> None:
    said = StringIO()
    Console(file=said, width=width).print(drawn(searched(Clock())))
    lines, words = said.getvalue().splitlines(), " ".join(said.getvalue().split())
    assert max(map(len, lines)) <= width
    assert len(lines) <= (14 if width < 80 else 11)
    for told in (
        "5 of 10 trials · 3:02 · about 4 min left", "trains to 33% · step 5/9 · epoch 2/3 · loss 0.250",
        "score 0.600 (t001, 1.20x)", "latency_ms 1.5 (t002, 2.00x)", "2 refused (1 size_mb, 1 not applicable)",
        "1 stopped (1 at 11%)", "1 from the cache", "1 failed", "hypervolume 0.",
    ):  # fmt: skip
        assert all(word in words for word in told.split()), told
    assert sum("loss" in line or "rehearses" in line for line in lines) == 2
    if width == 80:
        assert len(lines) == 9, "one line a worker"
    if width == 120:
        assert "trains to 33% · step 5/9 · epoch 2/3 · loss 0.250 · layers 0.5 + finetune" in words


def test_workers_that_train_the_same_steps_are_told_apart() -> None:
    view, said = SearchView(4, []), StringIO()
    for number, lr in ((1, 1e-4), (2, 3e-4)):
        view.begin(Job("train", StudyData(), number, [{"finetune": {"lr": lr}}, {"int8_dynamic": {}}]))
    Console(file=said, width=80).print(drawn(view))
    assert [line.split(" · ")[-1].strip() for line in said.getvalue().splitlines()[2:4]] == [
        "finetune lr=0.0001 + int8_dynamic", "finetune lr=0.0003 + int8_dynamic"
    ]  # fmt: skip


def test_the_plain_line_tells_the_same() -> None:
    assert status(searched(Clock())).partition("; ")[2] == (
        "t007 layers+finetune trains, step 5 of 9, loss 0.250, about 1 s left; t008 layers+finetune rehearses; "
        "5 of 10 trials trained; best feasible t001 0.600 2.50 ms (1.00x) 1.9 MB · "
        "2 refused (1 size_mb, 1 not applicable) · 1 stopped (1 at 11%) · 1 from the cache · 1 failed "
        "· about 4 min left"
    )


def test_a_spark_line_spans_from_the_lowest_to_the_highest() -> None:
    assert sparks([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparks([0.3]) == "▁"
    many = sparks([float(n) for n in range(500)])
    assert len(many) <= 40
    assert many[-1] == "█"
