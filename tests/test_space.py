"""Search spaces: what loads can be sampled, written down, found again and counted."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autocompress.errors import ConfigError
from autocompress.methods.training.finetune import AutoFinetune
from autocompress.space.distributions import Choice, Fixed, Range
from autocompress.space.language.schema import schema
from autocompress.space.language.steps import OpenMethod
from autocompress.space.language.yaml_lines import YamlSource, write_yaml
from autocompress.space.method import methods
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace

SPACES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
TOP: dict[str, Any] = {"model": "builtin/minilm", "task": {"data": "builtin/docstrings"}}


class Dice:
    """A sampler that knows only chance, and holds a space to what Optuna asks: one name, one distribution."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.params: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._keep(name, (low, high, step, log), self.rng.randrange(low, high + 1, step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        steps = round((high - low) / step) if step else 0
        drawn = low + self.rng.randint(0, steps) * step if step else self.rng.uniform(low, high)
        return self._keep(name, (low, high, step, log), drawn)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._keep(name, choices, self.rng.choice(choices))

    def _keep(self, name: str, asked: Any, drawn: Any) -> Any:
        assert self.asked.setdefault(name, asked) == asked
        self.params[name] = drawn
        return drawn


def space(*steps: Any, **more: Any) -> SearchSpace:
    return SearchSpace.parse(TOP | {"steps": list(steps)} | more)


def draws(searched: SearchSpace, count: int) -> list[Recipe]:
    dice = Dice(0)
    return [searched.sample(dice) for _ in range(count)]


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_a_space_we_ship_loads_and_samples(path: Path) -> None:
    """Its data need not be there: reading a space touches no other file."""
    searched = SearchSpace.load(path)
    recipes = draws(searched, 100)
    assert len({recipe.title for recipe in recipes}) > 3
    assert all(recipe.fault() is None for recipe in recipes)
    assert searched.anchors
    assert searched.root == path.parent


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_a_filled_space_is_a_space_and_the_same(path: Path, tmp_path: Path) -> None:
    searched = SearchSpace.load(path)
    write_yaml(tmp_path / "copy.yaml", searched.dump())
    copy = SearchSpace.load(tmp_path / "copy.yaml", root=path.parent)
    assert copy == searched
    assert copy.fingerprint == searched.fingerprint
    assert draws(copy, 20) == draws(searched, 20)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_anchors_can_be_enqueued(path: Path) -> None:
    """What `locate` gives is what Optuna takes, name by name and value by value."""
    searched = SearchSpace.load(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for anchor in searched.anchors:
        study.enqueue_trial(searched.locate(anchor))
        trial = study.ask()
        assert searched.sample(trial) == anchor
        assert trial.params == searched.locate(anchor)


def forms(distribution: Any) -> st.SearchStrategy[Any]:
    """Ways to write a knob that its author's own range allows."""
    match distribution:
        case Range(low, high) if isinstance(low, float):
            third = (high - low) / 3
            legal = st.floats(low, high)
            ranges = st.sampled_from([{"low": low, "high": high}, {"low": low, "high": high, "step": third}])
            return legal | st.lists(legal, min_size=1, max_size=3, unique=True) | ranges
        case Range(low, high):
            return st.integers(int(low), int(high)) | st.just({"low": int(low), "high": int(high)})
        case Choice(values):
            return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, unique=True)
        case Fixed(value):
            return st.just(value)
    raise AssertionError(distribution)


def opened(name: str) -> st.SearchStrategy[Any]:
    """A method as a space may write it: its name, or its name with some of its knobs."""
    knobs = {knob: forms(distribution) for knob, distribution in methods()[name].knobs().items()}
    return st.just(name) | st.fixed_dictionaries({}, optional=knobs).map(lambda given: {name: given})


def one_of(option: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(option, min_size=2, max_size=3)
    return st.lists(st.just("skip") | option | lists, min_size=1, max_size=4, unique_by=repr).map(
        lambda options: {"one_of": options}
    )


single = st.sampled_from(["layers", "heads", "neurons", "low_rank", "soft_labels", "hidden_states"]).flatmap(opened)
any_step = single | one_of(single | one_of(single))
any_steps = st.lists(any_step, max_size=3).flatmap(
    lambda steps: opened("finetune").map(lambda finetune: [*steps, finetune, {"one_of": ["skip", "int8_dynamic"]}])
)


@settings(max_examples=40, deadline=None)
@given(any_steps, st.integers(0, 99))
def test_what_is_sampled_is_found_again(steps: list[Any], seed: int) -> None:
    try:
        searched = space(*steps)
    except ConfigError as e:  # two options that hypothesis wrote differently, but that are the same
        assume("this option stands twice in its one_of." not in str(e))
        raise
    dice = Dice(seed)
    recipe = searched.sample(dice)
    assert searched.replay(dice.params) == recipe
    assert searched.replay(searched.locate(recipe)) == recipe
    assert SearchSpace.parse(searched.dump()) == searched
    assert Recipe.load(recipe.dump()) == recipe


@settings(max_examples=40, deadline=None)
@given(any_steps)
def test_one_parameter_has_one_meaning(steps: list[Any]) -> None:
    """Whichever options are chosen: Optuna refuses a name that comes back with another distribution."""
    try:
        searched = space(*steps)
    except ConfigError:
        assume(False)
    draws(searched, 30)  # Dice asserts it


def test_parameters_are_named_by_their_place() -> None:
    layers, heads = {"layers": {"keep": [0.25, 0.5], "strategy": "top"}}, {"heads": {"keep": [0.5], "importance": "l2"}}
    searched = space({"one_of": ["skip", layers, [layers, {"one_of": ["skip", heads]}]]}, {"finetune": {"lr": [1e-4]}})
    dice = Dice(0)
    draws_made = [searched.sample(dice).title for _ in range(50)]
    assert set(draws_made) == {"finetune", "layers+finetune", "layers+heads+finetune"}
    assert dice.asked == {
        "0": ["skip", "layers", "layers+skip|heads"],
        "0.layers.keep": [0.25, 0.5],
        "0.0.layers.keep": [0.25, 0.5],
        "0.1": ["skip", "heads"],
        "0.1.heads.keep": [0.5],
        "1.finetune.lr": [1e-4],
    }


def test_the_same_method_with_other_knobs_has_other_parameters() -> None:
    options = [{"low_rank": {"keep": keep, "scope": "ffn"}} for keep in ([0.25, 0.5], [0.7, 0.8])]
    dice = Dice(0)
    searched = space({"one_of": options}, "finetune")
    kept = {searched.sample(dice)[0].model_dump()["keep"] for _ in range(50)}
    assert kept == {0.25, 0.5, 0.7, 0.8}
    assert dice.asked["0"] == ["low_rank", "low_rank#2"]
    assert (dice.asked["0.low_rank.keep"], dice.asked["0.low_rank#2.keep"]) == ([0.25, 0.5], [0.7, 0.8])


def test_a_choice_within_a_choice_is_one_choice() -> None:
    nested = space({"one_of": ["skip", {"one_of": ["layers", [{"one_of": ["heads", "neurons"]}]]}]}, "finetune")
    assert nested == space({"one_of": ["skip", "layers", "heads", "neurons"]}, "finetune")


def test_a_grid_gives_its_own_numbers() -> None:
    """0.1 + 2 * 0.1 is 0.30000000000000004, and a recipe with it would be another than the anchor's."""
    searched = space({"low_rank": {"keep": {"low": 0.1, "high": 0.7, "step": 0.1}}})
    kept = {recipe[0].model_dump()["keep"] for recipe in draws(searched, 100)}
    assert kept == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


def test_text_that_is_a_number_becomes_one(tmp_path: Path) -> None:
    """PyYAML reads 1e-5 as text."""
    file = tmp_path / "space.yaml"
    file.write_text("model: m\ntask: {data: d}\nsteps:\n  - finetune: {lr: {low: 1e-5, high: 1e-4, log: true}}\n")
    [finetune] = SearchSpace.load(file).steps
    assert isinstance(finetune, OpenMethod)
    assert finetune.knobs["lr"] == Range(1e-5, 1e-4, log=True)


def test_an_anchor_takes_what_the_space_allows_where_it_is_silent() -> None:
    """`finetune` stands for the space's two epochs and, of its rates, the one nearest to the default of 5e-5."""
    searched = space(
        {"one_of": ["skip", "layers"]},
        {"finetune": {"epochs": 2, "lr": {"low": 1e-4, "high": 1e-3}}},
        anchors=[["finetune"], [{"layers": {"keep": 0.4}}, {"finetune": {"lr": "3e-4"}}]],
    )
    on_grid = space({"low_rank": {"keep": {"low": 0.3, "high": 0.9, "step": 0.3}}}, anchors=[["low_rank"]])
    assert on_grid.anchors[0].dump()[0]["low_rank"]["keep"] == 0.6  # the default is 0.5
    short, long = (recipe.dump() for recipe in searched.anchors)
    assert (short[0]["finetune"]["epochs"], short[0]["finetune"]["lr"]) == (2, 1e-4)
    assert (long[0]["layers"]["keep"], long[1]["finetune"]["lr"]) == (0.4, 3e-4)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ([{"layers": {"keep": 0.3}}], "1 of the recipe, layers: layers.keep = 0.3 is not within [0.25, 0.5]"),
        ([{"layers": {}}, {"heads": {}}], "2 of the recipe, heads: heads is not offered here: finetune comes next"),
        ([{"layers": {}}], "2 of the recipe, the end: the recipe ends too early: finetune comes next"),
        ([{"finetune": {}}, {"layers": {}}], "2 of the recipe, layers: the space has no step left"),
    ],
)  # fmt: skip
def test_a_recipe_outside_of_the_space_is_not_found(recipe: Any, message: str) -> None:
    searched = space({"one_of": ["skip", {"layers": {"keep": [0.25, 0.5]}}]}, {"finetune": {"lr": [5e-5]}})
    with pytest.raises(ConfigError) as e:
        searched.locate(Recipe.load(recipe))
    assert str(e.value) == f"the space cannot hold step {message}."


@pytest.mark.parametrize(("keep", "legal"), [(0.2, True), (0.5, True), (0.8, True), (0.3, False), (0.85, False)])
def test_a_recipe_between_the_steps_of_a_range_is_not_found(keep: float, legal: bool) -> None:
    searched = space({"low_rank": {"keep": {"low": 0.2, "high": 0.8, "step": 0.3}, "scope": "all"}})
    recipe = Recipe.load([{"low_rank": {"keep": keep}}])
    if legal:
        assert searched.locate(recipe) == {"0.low_rank.keep": keep}
    else:
        with pytest.raises(ConfigError, match=f"low_rank.keep = {keep} is not within"):
            searched.locate(recipe)


LAYERS = {"layers": {"keep": [0.25, 0.5], "strategy": "top"}}
SOFT = {"soft_labels": {"temperature": 2, "weight": 1}}
FINETUNE = {"finetune": {"lr": 1e-4}}


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([FINETUNE], 1),
        ([{"finetune": {"lr": [1e-4, 2e-4], "epochs": {"low": 1, "high": 5, "step": 2}}}], 6),
        ([{"one_of": ["skip", LAYERS]}, {"one_of": ["skip", LAYERS]}, FINETUNE], 1 + 2 + 4),
        ([{"one_of": [LAYERS, {"layers": {"keep": {"low": 0.5, "high": 0.7, "step": 0.1}, "strategy": "top"}}]}], 4),
        ([{"one_of": ["skip", SOFT]}, {"one_of": ["skip", FINETUNE]}], 3),  # soft_labels alone cannot work
        ([{"low_rank": {"keep": {"low": 0.25, "high": 0.75}}}], None),
        ([{"one_of": ["skip", LAYERS, SOFT]}] * 12 + [FINETUNE], None),  # half a million orders: not counted
    ],
)
def test_the_recipes_of_a_finite_space_are_counted(steps: list[Any], size: int | None) -> None:
    assert space(*steps).size == size


class Odometer(Dice):
    """Goes through every decision there is: the last one that can be counted up is, and what follows starts anew."""

    def __init__(self, digits: list[tuple[int, int]]) -> None:
        super().__init__(0)
        self.digits, self.at = digits, 0

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self.suggest_categorical(name, list(range(low, high + 1, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        assert step is not None
        return self.suggest_categorical(name, [low + i * step for i in range(round((high - low) / step) + 1)])

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        if self.at == len(self.digits):
            self.digits.append((0, len(choices)))
        self.at += 1
        return choices[self.digits[self.at - 1][0]]


def every_recipe(searched: SearchSpace) -> Iterator[Recipe]:
    digits: list[tuple[int, int]] = []
    while True:
        yield searched.sample(Odometer(digits))
        while digits and digits[-1][0] + 1 == digits[-1][1]:
            digits.pop()
        if not digits:
            return
        digits[-1] = (digits[-1][0] + 1, digits[-1][1])


@settings(max_examples=40, deadline=None)
@given(any_steps)
def test_the_size_is_the_number_of_recipes_that_can_be_seen(steps: list[Any]) -> None:
    fixed = [*islice((step for step in steps if "one_of" in step), 2), FINETUNE]
    try:
        searched = space(*fixed)
    except ConfigError:
        assume(False)
    assume(searched.size is not None and searched.size <= 300)
    seen = {recipe.key for recipe in every_recipe(searched) if recipe.fault() is None}
    assert len(seen) == searched.size


def test_teachers_are_read_in_every_form() -> None:
    assert space(FINETUNE).teacher is None
    assert space(FINETUNE, teacher="as_given").teacher == "as_given"
    assert space(FINETUNE, teacher="org/other").teacher == "org/other"
    tuned = space(FINETUNE, teacher={"finetune": {"epochs": 5}})
    assert tuned.teacher == methods()["finetune"](epochs=5)
    assert tuned.dump()["teacher"]["finetune"]["epochs"] == 5
    assert type(tuned.teacher) is methods()["finetune"]
    for until_flat in ("finetune", {"finetune": None}, {"finetune": {"epochs": "auto"}}, {"finetune": {}}):
        assert space(FINETUNE, teacher=until_flat).teacher == AutoFinetune()
    slow = space(FINETUNE, teacher={"finetune": {"lr": 1e-5}})
    assert slow.dump()["teacher"] == {"finetune": AutoFinetune(lr=1e-5).model_dump()}
    assert SearchSpace.parse(slow.dump()).teacher == slow.teacher


def test_a_fingerprint_ignores_trials_and_place_and_nothing_else() -> None:
    one = space(LAYERS, FINETUNE, search={"trials": 3})
    assert one.fingerprint == space(LAYERS, FINETUNE, search={"trials": 50}).fingerprint
    assert one.fingerprint == SearchSpace.parse(one.dump(), root=Path("elsewhere")).fingerprint
    assert one.fingerprint != space(LAYERS, FINETUNE, search={"trials": 3, "seed": 1}).fingerprint


def test_a_difference_names_what_changed() -> None:
    before = space(LAYERS, FINETUNE, constraints=["size_mb <= 40"])
    after = space(
        {"layers": {"keep": [0.25, 0.6], "strategy": "top"}}, FINETUNE, "int8_dynamic", target={"threads": 2},
        search={"trials": 7},
    )  # fmt: skip
    changed = before.diff(after)
    assert changed[:3] == [
        "target.threads: 1 -> 2",
        "constraints.0: size_mb <= 40 -> nothing",
        "steps.0.layers.keep.1: 0.5 -> 0.6",
    ]
    assert changed[3:]
    assert all(line.startswith("steps.2.int8_dynamic.") for line in changed[3:])
    assert before.diff(before) == []


def as_editors_read(data: Any) -> Any:
    """In YAML 1.2 `1e-4` is a number."""
    match data:
        case dict():
            return {key: as_editors_read(value) for key, value in data.items()}
        case list():
            return [as_editors_read(value) for value in data]
        case str() if re.fullmatch(r"\de-\d", data):
            return float(data)
    return data


def accepts(form: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """As much of JSON schema as ours uses."""
    if "$ref" in form:
        return accepts(root["$defs"][form["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in form:
        return any(accepts(one, value, root) for one in form["anyOf"])
    if "const" in form or "enum" in form:
        return value in form.get("enum", [form.get("const")])
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": int | float}
    types = [form["type"]] if isinstance(form["type"], str) else form["type"]
    if not any(value is None if kind == "null" else isinstance(value, kinds[kind]) for kind in types):
        return False
    if isinstance(value, list):
        return len(value) >= form.get("minItems", 0) and all(accepts(form["items"], one, root) for one in value)
    if isinstance(value, dict):
        inner, others = form.get("properties", {}), form.get("additionalProperties", False)
        known = all(accepts(inner.get(k, others), v, root) for k, v in value.items() if k in inner or others)
        return known and (bool(others) or set(value) <= set(inner)) and set(form.get("required", ())) <= set(value)
    return value > form.get("exclusiveMinimum", -float("inf")) if isinstance(value, int | float) else True


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_schema_for_editors_accepts_what_we_ship(path: Path) -> None:
    form = schema()
    for data in (as_editors_read(YamlSource.read(path).data), SearchSpace.load(path).dump()):
        assert accepts(form, data, form)
        wrong_knob, wrong_step = {"layers": {"kep": 0.5}}, "layer"
        assert not accepts(form, data | {"steps": [*data["steps"], wrong_knob]}, form)
        assert not accepts(form, data | {"steps": [*data["steps"], wrong_step]}, form)
        assert not accepts(form, data | {"modle": "m"}, form)


def test_the_schema_knows_every_method_and_knob() -> None:
    steps = schema()["$defs"]["step"]["anyOf"]
    for name, method in methods().items():
        assert name in steps[0]["enum"]
        [form] = [s for s in steps if s.get("required") == [name]]
        assert list(form["properties"][name]["properties"]) == list(method.model_fields)
