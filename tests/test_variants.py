"""Which recipes are evaluated from a training that is done: as many as pay, the most promising first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autocompress.engine.front.variants import Variants
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace


def space(**search: Any) -> SearchSpace:
    return SearchSpace.parse({
        "model": "m", "task": {"data": "d"}, "search": {"trials": 9, **search},
        "steps": [
            {"finetune": {"epochs": [1, 2, 3], "lr": 1e-4}},
            {"one_of": ["skip", {"int8_dynamic": {"per_token": True}}, {"weight_only": {"bits": 4}},
                        {"half": {"dtype": "float16"}}]},
        ],
    })  # fmt: skip


def measured(score: float, latency_ms: float = 10.0, size_mb: float = 90.0) -> Measurement:
    return {"score": score, "score_high": score + 0.02, "latency_ms": latency_ms, "size_mb": size_mb}


class Search:
    """Trials as they come to be, without any work."""

    def __init__(self, **search: Any) -> None:
        self.space = space(**search)
        self.table = TrialTable([], self.space.goals)
        self.variants = Variants(self.space, self.table)

    def trained(self, epochs: int, score: float, seconds: float) -> Trial:
        recipe = next(r for r in map(self.space.replay, self.space.points())
                      if len(r) == 1 and r[0].model_dump()["epochs"] == epochs)  # fmt: skip
        trial = self._keep(recipe, measured(score), None, {"train": seconds})
        self.variants.follow(trial)
        return trial

    def evaluated(self, parent: Trial, recipe: Recipe, measurement: Measurement, seconds: float) -> Trial:
        return self._keep(recipe, measurement, parent.number, {"evaluate": seconds})

    def _keep(
        self, recipe: Recipe, measurement: Measurement, variant_of: int | None, seconds: dict[str, float]
    ) -> Trial:
        number = len(list(self.table))
        trial = Trial(number, "running", recipe, self.space.locate(recipe), variant_of=variant_of)
        self.table.keep(trial)
        return self.table.keep(replace(trial, state="complete", measurement=measurement, seconds=seconds))


def test_together_they_take_a_share_of_their_trainings_seconds_and_one_always_is() -> None:
    search = Search(variant_time=0.5)
    short, long = search.trained(1, 0.8, seconds=4.0), search.trained(2, 0.8, seconds=30.0)
    made = []
    while (recipe := search.variants.next()) is not None:
        parent = short if recipe.trained == short.recipe.trained else long
        made.append(search.evaluated(parent, recipe, measured(0.8), seconds=5.0).variant_of)
    assert made == [short.number, long.number, long.number, long.number]  # 5 s of 2, and three of 5 s of 15


def test_no_more_than_asked_for() -> None:
    search = Search(variant_time=1000, variants=2)
    parent = search.trained(1, 0.8, seconds=1.0)
    for _ in range(2):
        recipe = search.variants.next()
        assert recipe
        search.evaluated(parent, recipe, measured(0.8), seconds=1.0)
    assert search.variants.next() is None


def test_what_came_to_the_front_before_comes_first() -> None:
    search = Search(variant_time=1000)
    first = search.trained(1, 0.8, seconds=1.0)
    while (recipe := search.variants.next()) is not None:
        good = recipe.tail.title == "half"
        search.evaluated(first, recipe, measured(0.8, 5.0, 45.0) if good else measured(0.3, 20.0), seconds=1.0)
    search.trained(2, 0.8, seconds=1.0)
    recipe = search.variants.next()
    assert recipe
    assert recipe.tail.title == "half"


def test_one_that_loses_with_the_best_score_of_its_training_is_told_to_whom() -> None:
    search = Search()
    search.trained(1, 0.9, seconds=1.0)
    weak = search.trained(2, 0.7, seconds=1.0)
    recipe = search.variants.next()
    assert recipe
    trial = Trial(9, "running", Recipe([*weak.recipe, *recipe.tail]), variant_of=weak.number)
    slower = replace(trial, measurement={"latency_ms": 20.0, "size_mb": 90.0})
    assert search.variants.lost(slower) == "with the 0.720 that its training may be worth at best it loses to t000"
    faster = replace(trial, measurement={"latency_ms": 5.0, "size_mb": 90.0})
    assert search.variants.lost(faster) == ""
