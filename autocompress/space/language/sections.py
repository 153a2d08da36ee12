"""Read the top-level keys of a search space, each into what `SearchSpace` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError, nearest
from autocompress.space import own_methods
from autocompress.space.goals import DEFAULT_OBJECTIVES, QUANTITIES, Constraint, Direction, quantity
from autocompress.space.language.grammar import Grammar
from autocompress.space.language.grid import endless
from autocompress.space.language.mistakes import Mistakes, read_settings
from autocompress.space.language.orders import impossible
from autocompress.space.language.replay import replay
from autocompress.space.language.steps import Step, locate
from autocompress.space.method import Method, find
from autocompress.space.recipe import Recipe
from autocompress.space.settings import SearchSettings, Target, TaskSettings, find_task_kind

REQUIRED = ("model", "task", "steps")
KEYS = (
    "model", "methods", "teacher", "start", "task", "target", "objectives", "constraints", "search", "anchors", "steps"
)  # fmt: skip


class Sections:
    """One reader for one file. Every method takes what stands behind its key; mistakes go to the list."""

    def __init__(self, mistakes: Mistakes, root: Path = Path()) -> None:
        self._mistakes, self._root = mistakes, root
        self._grammar = Grammar(mistakes)

    def read(self, data: Any) -> dict[str, Any]:
        """All of them. Where the mistakes have grown the result is not to be used."""
        if not isinstance(data, dict):
            got = "The file is empty" if data is None else f"Got a {type(data).__name__}"
            self._mistakes.add((), f"a search space is a mapping with the keys {', '.join(KEYS)}. {got}.")
            return {}
        unknown = {key: nearest(key, KEYS, otherwise="Keys") for key in data if key not in KEYS}
        for key, hint in unknown.items():
            self._mistakes.add((key,), f"there is no key {key!r}. {hint}")
        for key in REQUIRED:
            if data.get(key) is None and nearest(key, [key], otherwise="") not in unknown.values():
                self._mistakes.add((key,), f"a search space needs the key {key!r}.")
        given = {key: value for key, value in data.items() if value is not None and key in KEYS}
        read = {key: getattr(self, f"_{key}")(given.pop(key)) for key in KEYS if key in given and key != "anchors"}
        self._check_runs(read.get("task"), read)
        self._check_grid(read.get("search"), read.get("steps", ()))
        return read | {"anchors": self._anchors(data.get("anchors") or [], read.get("steps", ()))}

    def _model(self, given: Any) -> str:
        return self._text("model", given, "a hub id, a local folder or builtin/...")

    def _methods(self, given: Any) -> str | None:
        """A folder of methods, which are loaded before what may name them is read."""
        named = self._text("methods", given, "a folder of methods of your own")
        try:
            own_methods.load((self._root / Path(named).expanduser()).resolve(), named)
        except ConfigError as e:
            self._mistakes.add(("methods",), str(e))
        return named

    def _teacher(self, given: Any) -> Method | str | None:
        """`as_given`, a fine-tuning with every knob decided, or another checkpoint. Epochs left out are auto."""
        if given != "finetune" and not (isinstance(given, dict) and list(given) == ["finetune"]):
            return self._text("teacher", given, "as_given, {finetune: {epochs: 3}} or another checkpoint")
        knobs = given["finetune"] if isinstance(given, dict) else None
        until_flat = not isinstance(knobs, dict) or knobs.get("epochs", "auto") == "auto"
        if until_flat and isinstance(knobs, dict):
            given = {"finetune": {knob: value for knob, value in knobs.items() if knob != "epochs"}}
        wanted = self._grammar.wanted(given, ("teacher",))
        if wanted is None:
            return None
        return find(wanted[0]).for_teacher(wanted[1])

    def _start(self, given: Any) -> str:
        if given not in ("teacher", "pretrained"):
            hint = nearest(str(given), ("teacher", "pretrained"), otherwise="It may be")
            self._mistakes.add(("start",), f"start may not be {given!r}. {hint}")
        return str(given)

    def _task(self, given: Any) -> TaskSettings | None:
        return read_settings(TaskSettings, given, ("task",), self._mistakes)

    def _target(self, given: Any) -> Target | None:
        return read_settings(Target, given, ("target",), self._mistakes)

    def _search(self, given: Any) -> SearchSettings | None:
        return read_settings(SearchSettings, given, ("search",), self._mistakes)

    def _objectives(self, given: Any) -> dict[str, Direction]:
        if not isinstance(given, dict) or not given:
            self._mistakes.add(("objectives",), f"objectives should be a mapping such as {_EXAMPLE}. Got {given!r}.")
            return {}
        for name, direction in given.items():
            with self._mistakes.at(("objectives", name)):
                if direction != (better := quantity(name).better):
                    raise ConfigError(f"objectives.{name} should be {better!r}. Got {direction!r}.")
        return given

    def _constraints(self, given: Any) -> tuple[Constraint, ...]:
        if not isinstance(given, list):
            self._mistakes.add(("constraints",), f"constraints should be a list, one limit a dash. Got {given!r}.")
            return ()
        out: list[Constraint] = []
        for i, text in enumerate(given):
            with self._mistakes.at(("constraints", i)):
                constraint = Constraint.parse(text)
                if constraint in out:
                    raise ConfigError(f"{constraint.text!r} stands twice.")
                out.append(constraint)
        return tuple(out)

    def _steps(self, given: Any) -> tuple[Step, ...]:
        before = len(self._mistakes)
        steps = self._grammar.steps(given, ("steps",))
        if len(self._mistakes) > before:
            return ()
        for method, fault in impossible(steps):
            self._mistakes.add(method.place, f"{method.name} can never be used here: {fault}.")
        return steps

    def _check_runs(self, task: TaskSettings | None, read: dict[str, Any]) -> None:
        """Goals speak of runs that the kind of task has."""
        named = [(("objectives", name), name) for name in read.get("objectives", ()) if name in QUANTITIES]
        named += [(("constraints", i), limit.quantity) for i, limit in enumerate(read.get("constraints", ()))]
        for place, name in named if task else ():
            run = quantity(name).run
            if task and run and run not in find_task_kind(task.kind).runs:
                self._mistakes.add(
                    place, f"{name} is for kinds of tasks that continue texts. Got task.kind {task.kind!r}. "
                    f"Write {name.removeprefix('token_')}.",
                )  # fmt: skip

    def _check_grid(self, search: SearchSettings | None, steps: tuple[Step, ...]) -> None:
        """A grid goes through every recipe, so there has to be an end of them."""
        for method, knob in endless(steps) if search and search.sampler == "grid" else ():
            self._mistakes.add(
                method.place,
                f"{method.name}.{knob} has no end of values, so search.sampler may not be 'grid'. "
                "Give the knob a step, a list or one value.",
            )

    def _anchors(self, given: Any, steps: tuple[Step, ...]) -> tuple[Recipe, ...]:
        """Recipes of the space. A knob that one leaves out takes its default, or what the space has nearest to it."""
        if not isinstance(given, list):
            self._mistakes.add(("anchors",), f"anchors should be a list of recipes. Got {given!r}.")
            return ()
        return tuple(recipe for i, one in enumerate(given) if (recipe := self._anchor(one, i, steps)) is not None)

    def _anchor(self, given: Any, number: int, steps: tuple[Step, ...]) -> Recipe | None:
        place, before = ("anchors", number), len(self._mistakes)
        wanted = self._grammar.recipe(given, place)
        if len(self._mistakes) > before or not steps:
            return None
        with self._mistakes.at(place):
            recipe = replay(steps, locate(steps, wanted))
            if fault := recipe.fault():
                raise ConfigError(f"this recipe cannot work: {fault}.")
            return recipe
        return None

    def _text(self, key: str, given: Any, meaning: str) -> str:
        if not isinstance(given, str) or not given.strip():
            self._mistakes.add((key,), f"{key} should be {meaning}. Got {given!r}.")
        return str(given)


_EXAMPLE = "{" + ", ".join(f"{name}: {direction}" for name, direction in DEFAULT_OBJECTIVES.items()) + "}"
