"""A search space: a recipe whose steps and knobs are still open, and all that a search needs to know besides."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, InstanceOf, PrivateAttr

from autocompress.errors import ConfigError
from autocompress.space.distributions import Suggest
from autocompress.space.goals import DEFAULT_OBJECTIVES, Constraint, Direction, Goals
from autocompress.space.language import grid, orders, replay, steps, tails
from autocompress.space.language.mistakes import Mistakes, Place
from autocompress.space.language.sections import Sections
from autocompress.space.language.steps import OneOf, OpenMethod, Params
from autocompress.space.method import Method
from autocompress.space.recipe import Recipe, digest
from autocompress.space.settings import SearchSettings, Settings, Target, TaskSettings


class SearchSpace(Settings):
    """What `autocompress search` reads. `load` makes one from a file, `parse` from plain data."""

    model_config = ConfigDict(defer_build=True)  # who only reads a study makes one without validating it

    model: str
    methods: str | None = None  # a folder of the user's own
    teacher: InstanceOf[Method] | str | None = None  # None: decided when the model is loaded
    start: Literal["teacher", "pretrained"] = "teacher"
    task: TaskSettings
    target: Target = Target()
    objectives: dict[str, Direction] = DEFAULT_OBJECTIVES
    constraints: tuple[InstanceOf[Constraint], ...] = ()
    search: SearchSettings = SearchSettings()
    anchors: tuple[InstanceOf[Recipe], ...] = ()
    steps: tuple[InstanceOf[OpenMethod] | InstanceOf[OneOf], ...]

    _root: Path = PrivateAttr(default=Path())

    @classmethod
    def load(cls, path: Path | str, *, root: Path | None = None) -> SearchSpace:
        """Read a YAML file. Every mistake in it is raised at once, each as `file:line: sentence`."""
        from autocompress.space.language.yaml_lines import YamlSource

        source = YamlSource.read(Path(path))
        return cls.parse(source.data, root=root or Path(path).resolve().parent, where=source.where)

    @classmethod
    def parse(cls, data: Any, *, root: Path | None = None, where: Callable[[Place], str] | None = None) -> SearchSpace:
        """The same from plain data, as `dump` gives it. `where` turns a place in it into words."""
        mistakes = Mistakes()
        fields = Sections(mistakes, root or Path()).read(data)
        mistakes.settle(where or _dotted)
        space = cls(**fields)
        space._root = root or Path()
        return space

    @property
    def root(self) -> Path:
        """The folder that relative paths in the space start from. Where it lies is no part of what the space says."""
        return self._root

    @property
    def goals(self) -> Goals:
        """Objectives and constraints."""
        return Goals(self.objectives, self.constraints)

    def sample(self, trial: Suggest) -> Recipe:
        """Decide every open step and knob. `Recipe.fault` tells whether the outcome can work."""
        return replay.sample(self.steps, trial)

    def replay(self, params: Params) -> Recipe:
        """The recipe that these parameters stand for."""
        return replay.replay(self.steps, params)

    def locate(self, recipe: Recipe) -> Params:
        """The parameters under which `sample` gives this recipe. The inverse of `replay`."""
        return steps.locate(self.steps, tuple((method.name, method.model_dump()) for method in recipe))

    def points(self) -> Iterator[Params]:
        """The parameters of every recipe, in an order that the seed decides; none where there is no end of them.

        Some may give the same recipe or one at fault.
        """
        return grid.points(self.steps, self.search.seed)

    def variants(self, params: Params) -> Iterator[Recipe]:
        """The recipe of these parameters, and those that are trained like it: they differ in what follows only."""
        return tails.tails(self.steps, params, self.search.seed)

    def without(self, places: Container[str]) -> SearchSpace | None:
        """The space without the options, and the anchors, that need a method at one of these places (`0.layers`).

        None: no recipe is left, or only the one that does nothing.
        """
        if not places:
            return self
        left = steps.without(self.steps, places)
        if left is None or not next(steps.every_method(left), None):
            return None
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        space = type(self)(**fields | {"steps": left, "anchors": ()})
        space = type(self)(**fields | {"steps": left, "anchors": tuple(a for a in self.anchors if space.holds(a))})
        space._root = self._root
        return space

    def holds(self, recipe: Recipe) -> bool:
        """Whether the recipe lies in this space."""
        try:
            self.locate(recipe)
        except ConfigError:
            return False
        return True

    @cached_property
    def size(self) -> int | None:
        """How many different recipes there are. None: no end of them, or too many to count."""
        return orders.size(self.steps)

    def dump(self) -> dict[str, Any]:
        """The filled space as plain data: nothing hidden, nothing left to a default."""
        own = {} if self.methods is None else {"methods": self.methods}
        return own | {
            "model": self.model,
            "teacher": {self.teacher.name: self.teacher.model_dump(mode="json")}
            if isinstance(self.teacher, Method) else self.teacher,
            "start": self.start,
            "task": self.task.model_dump(mode="json"),
            "target": self.target.model_dump(mode="json"),
            "objectives": dict(self.objectives),
            "constraints": [constraint.text for constraint in self.constraints],
            "search": self.search.model_dump(mode="json"),
            "anchors": [recipe.dump() for recipe in self.anchors],
            "steps": [step.dump() for step in self.steps],
        }  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """Equal for spaces whose studies may be one. More trials of the same space are no other space."""
        return digest(self.identity(self.dump()))

    def diff(self, other: SearchSpace) -> list[str]:
        """What changed from this space to `other`, one line each; nothing where the fingerprints are equal."""
        return differences(self.identity(self.dump()), self.identity(other.dump()))

    @staticmethod
    def identity(dump: dict[str, Any]) -> dict[str, Any]:
        """A dump without what says when a search ends, and not what its trials are."""
        ends = ("trials", "rule", "confirm", "variant_time", "predict")
        return dump | {"search": {key: value for key, value in dump["search"].items() if key not in ends}}


def differences(before: Any, after: Any) -> list[str]:
    """What differs between two pieces of plain data: `dotted.place: then -> now`, a line each."""
    then, now = _leaves(before), _leaves(after)
    return [
        f"{key}: {then.get(key, 'nothing')} -> {now.get(key, 'nothing')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]


def _leaves(data: Any, place: Place = ()) -> dict[str, Any]:
    """Every scalar by its dotted place."""
    parts: Iterable[tuple[Any, Any]]
    match data:
        case dict():
            parts = data.items()
        case list():
            parts = enumerate(data)
        case _:
            return {_dotted(place): data}
    return {key: leaf for part, value in parts for key, leaf in _leaves(value, (*place, part)).items()}


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) or "space"
