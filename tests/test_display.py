"""What a person sees of a search."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from autocompress.display import Display
from autocompress.jobs import Job
from autocompress.ledger import Trial
from autocompress.recipe import Recipe


def test_two_seeds_of_one_finalist_may_be_under_way_at_once() -> None:
    trial = Trial(0, "complete", Recipe.load([{"finetune": {}}]), measurement={"score": 0.5})
    first, second = (Job("train", "study", 0, trial.recipe.dump(), repeat=repeat) for repeat in (1, 2))
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
