"""What recipes are compared on: the axes of a space, their names, and where a recipe stands on them."""

from __future__ import annotations

from typing import Any

import pytest

from autocompress.space.axes import Axes
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.language import knobs
from autocompress.space.method import methods
from autocompress.space.recipe import Recipe
from autocompress.space.recorded import traits
from autocompress.space.search_space import SearchSpace

STEPS = [
    {"one_of": ["skip", {"layers": {"keep": [0.5, 0.67], "strategy": ["top", "alternate"]}}]},
    {"one_of": ["skip", {"heads": {"keep": 0.5}}, [{"heads": {"keep": 0.75}}, {"neurons": {"keep": 0.5}}]]},
    {"one_of": ["skip", {"soft_labels": {"temperature": 2.0, "weight": 1.0}}]},
    {"finetune": {"epochs": 1, "lr": [1e-4, 3e-4]}},
    {"one_of": ["skip", {"soft_labels": {"temperature": 2.0, "weight": [1.0, 2.0]}}]},
    {"finetune": {"epochs": 2, "lr": {"low": 1e-4, "high": 3e-4, "log": True}}},
    {"one_of": ["skip", "int8_static", {"low_rank": {"keep": 0.5, "scope": "all"}}]},
]


def space(steps: list[Any]) -> SearchSpace:
    return SearchSpace.parse({"model": "builtin/minilm", "task": {"data": "builtin/docstrings"}, "steps": steps})


def axes(steps: list[Any], **more: Any) -> Axes:
    return Axes(space(steps).dump()["steps"], traits(), **more)


def test_an_axis_is_called_by_what_it_decides_and_only_what_varies_is_one() -> None:
    assert [(axis.name, axis.neutral, axis.leads) for axis in axes(STEPS)] == [
        ("layers.keep", 1, True),
        ("layers.strategy", "none", False),
        ("pruning", "none", True),
        ("heads.keep", 1, True),
        ("soft_labels", "no", True),
        ("finetune.lr", 0, True),
        ("soft_labels:2", "no", True),
        ("soft_labels:2.weight", 0, False),
        ("finetune:2.lr", 0, True),
        ("int8_static or low_rank", "none", True),
        ("int8_static.observer", "none", True),
        ("int8_static.smooth", 0, False),
        ("int8_static.exclude", "none", False),
    ]


def test_what_a_recipe_leaves_out_stands_at_its_neutral_value() -> None:
    searched, found = space(STEPS), axes(STEPS)
    recipe = [
        {"heads": {"keep": 0.75}}, {"neurons": {"keep": 0.5}}, {"finetune": {"epochs": 1, "lr": 3e-4}},
        {"soft_labels": {"temperature": 2.0, "weight": 2.0}}, {"finetune": {"epochs": 2, "lr": 2e-4}},
    ]  # fmt: skip
    assert found.values(searched.locate(Recipe.load(recipe))) == {
        "layers.keep": 1, "layers.strategy": "none", "pruning": "heads+neurons", "heads.keep": 0.75,
        "soft_labels": "no", "finetune.lr": 3e-4, "soft_labels:2": "yes", "soft_labels:2.weight": 2.0,
        "finetune:2.lr": 2e-4, "int8_static or low_rank": "none", "int8_static.observer": "none",
        "int8_static.smooth": 0, "int8_static.exclude": "none",
    }  # fmt: skip
    assert set(found.values({}).values()) == {0, 1, "no", "none"}  # the baseline


def test_what_cannot_act_on_the_model_is_no_axis() -> None:
    names = [axis.name for axis in axes(STEPS, left_out={"0.layers", "6.int8_static"})]
    assert names[:2] == ["pruning", "heads.keep"]
    assert names[-1] == "low_rank"


def test_a_study_that_wrote_down_no_neutral_values_has_those_of_today() -> None:
    older = {name: {k: v for k, v in each.items() if k != "neutral"} for name, each in traits().items()}
    dump = space(STEPS).dump()["steps"]
    assert list(Axes(dump, older)) == list(Axes(dump, traits()))
    unknown = Axes([{"one_of": ["skip", {"gone": {"amount": [1, 2]}}]}], {})
    assert unknown.values({"0": "gone", "0.gone.amount": 2}) == {"gone": "yes", "gone.amount": 2}


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_neutral_value_is_none_that_the_method_would_have(name: str) -> None:
    method = methods()[name]
    for knob, field in method.model_fields.items():
        declared = [mark.value for mark in field.metadata if isinstance(mark, Neutral)]
        searched = [mark for mark in field.metadata if isinstance(mark, Range | Choice)]
        assert not any(knobs.holds(each, value) for each in searched for value in declared)
        assert knob not in ("keep", "bits") or declared  # 0 would read as all of it gone
        number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
        assert method.neutral()[knob] == (declared[0] if declared else 0 if number else "none")
