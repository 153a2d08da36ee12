"""The recipes that are tried first."""

from __future__ import annotations

from typing import Any

import pytest

from autocompress.space.anchors import built_in, middle, tried_first
from autocompress.space.distributions import Choice, Fixed, Range
from autocompress.space.method import methods
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace

EVERY = [
    {"one_of": ["skip", "heads", "layers"]},
    {"one_of": ["skip", "low_rank"]},
    {"one_of": ["skip", "soft_labels"]},
    "finetune",
    {"one_of": ["skip", "int8_dynamic"]},
]


def space(steps: list[Any], **more: Any) -> SearchSpace:
    return SearchSpace.parse({"model": "m", "task": {"data": "d"}, "steps": steps} | more)


def titles(steps: list[Any]) -> list[str]:
    return [recipe.title for recipe in built_in(space(steps))]


def test_combinations_come_first_then_each_method_alone() -> None:
    assert titles(EVERY) == [
        "heads+soft_labels+finetune+int8_dynamic",
        "layers+soft_labels+finetune+int8_dynamic",
        "low_rank+soft_labels+finetune+int8_dynamic",
        "finetune",
        "finetune+int8_dynamic",
        "soft_labels+finetune",
        "low_rank+finetune",
        "heads+finetune",
        "layers+finetune",
    ]


def test_what_the_space_does_not_admit_is_left_out() -> None:
    assert titles(["layers"]) == ["layers"]
    assert titles([{"one_of": ["skip", "int8_dynamic"]}]) == ["int8_dynamic"], "nothing at all is the baseline"
    assert titles(["layers", "soft_labels", "finetune"]) == ["layers+soft_labels+finetune"], "none can be left out"
    wrong_way_round = ["int8_dynamic", {"one_of": ["skip", "soft_labels"]}, "finetune"]
    assert titles(wrong_way_round) == ["int8_dynamic+finetune", "int8_dynamic+soft_labels+finetune"]


def test_an_order_that_cannot_work_is_no_anchor() -> None:
    steps = [{"one_of": ["skip", "soft_labels"]}, {"one_of": ["skip", "finetune"]}]
    assert titles(steps) == ["finetune", "soft_labels+finetune"], "soft_labels alone would never act"


@pytest.mark.parametrize("name", methods())
def test_every_anchor_lies_in_its_space(name: str) -> None:
    """For every method there is, beside those that it may need."""
    one = space([{"one_of": ["skip", name]}, *EVERY])
    found = built_in(one)
    assert name in {method.name for recipe in found for method in recipe}
    for recipe in found:
        assert one.replay(one.locate(recipe)) == recipe
        assert recipe.fault() is None
    assert len({recipe.key for recipe in found}) == len(found)


def test_knobs_stand_at_their_defaults_or_in_the_middle() -> None:
    narrow = {"layers": {"keep": {"low": 0.6, "high": 0.8}, "strategy": ["top", "contribution"]}}
    steps = [narrow, {"finetune": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "epochs": {"low": 1, "high": 5}}}]
    [recipe] = built_in(space(steps))
    knobs = {method.name: method.model_dump() for method in recipe}
    assert knobs["layers"] == {"keep": pytest.approx(0.7), "strategy": "contribution"}
    assert knobs["finetune"]["lr"] == pytest.approx(1e-3)
    assert knobs["finetune"]["epochs"] == 3, "the default lies within"


def test_a_middle_is_a_legal_value() -> None:
    assert middle(Range(0.1, 0.4, 0.1), 0.9) in (0.2, 0.3)
    assert middle(Range(2, 5), 9) == 4
    assert middle(Range(1, 100, log=True), 0) == 10
    assert middle(Choice((4, 8, 16)), 2) == 8
    assert middle(Fixed("top"), "alternate") == "top"


def test_the_spaces_own_anchors_come_before_and_the_built_in_ones_may_be_switched_off() -> None:
    own = [["layers", "finetune"]]
    mine = space(EVERY, anchors=own)
    assert [r.title for r in tried_first(mine)][:2] == ["layers+finetune", "heads+soft_labels+finetune+int8_dynamic"]
    without = space(EVERY, anchors=own, search={"built_in_anchors": False})
    assert tried_first(without) == without.anchors
    assert all(isinstance(recipe, Recipe) for recipe in tried_first(mine))
