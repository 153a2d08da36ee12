"""One recipe without a search: a space that holds this recipe only, run as a study of one trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.serving.folder import SERVING, read_serving
from autocompress.space.language.grammar import Grammar
from autocompress.space.language.mistakes import Mistakes
from autocompress.space.language.sections import KEYS
from autocompress.space.language.yaml_lines import YamlSource
from autocompress.space.method import find
from autocompress.space.recipe import Recipe, digest
from autocompress.space.search_space import SearchSpace

_ALONE = {"trials": 1, "built_in_anchors": False, "rungs": "none", "variants": 0, "confirm": {"top": 0}}
_SHARED = [key for key in KEYS if key not in ("steps", "anchors", "search", "constraints", "objectives")]


def space_of(recipe: Path, like: Path | None, given: Mapping[str, Any], root: Path) -> SearchSpace:
    """The space of the recipe in a file: a list of steps, or `steps` beside `seed`, `model`, `task`, `target`.

    What the file does not say is taken from the space `like`, and what lies beside it, if it was exported; `given`
    counts before either. Paths in `given` are seen from `root`. Raises `ConfigError`.
    """
    source = YamlSource.read(recipe)
    written = source.data if isinstance(source.data, dict) else {"steps": source.data}
    steps = _decided(written.get("steps"), source, in_mapping=isinstance(source.data, dict))
    if fault := steps.fault():
        raise ConfigError(f"{recipe}: this recipe cannot work: {fault}.")
    home, known = root, _exported(recipe.parent)
    if like is not None:
        space = SearchSpace.load(like)
        home, known = space.root, {key: value for key, value in space.dump().items() if key in _SHARED}
    elif {"model", "task"} & written.keys():
        home = recipe.resolve().parent
    known |= {key: value for key, value in written.items() if key in _SHARED}
    known |= {key: _merged(known.get(key), value) for key, value in given.items() if value}
    _check(recipe, known)
    search = _ALONE | {"seed": written.get("seed", 0)}
    return SearchSpace.parse({**known, "search": search, "steps": steps.dump()}, root=home)


def study_name(space: SearchSpace, recipe: Path) -> str:
    """Equal for what would give the same model: asked for again, it goes on where it stopped."""
    stem = "".join(sign if sign.isalnum() else "-" for sign in recipe.stem)
    return f"apply-{stem}-{digest([space.dump(), str(space.root.resolve())])[:8]}"


def _decided(steps: Any, source: YamlSource, *, in_mapping: bool) -> Recipe:
    """Knobs that are left out take their defaults."""
    mistakes, at = Mistakes(), ("steps",) if in_mapping else ()
    wanted = Grammar(mistakes).recipe(steps, at)
    if not wanted and steps == []:
        mistakes.add(at, "a recipe has at least one step.")
    mistakes.settle(source.where)
    return Recipe(find(name)(**knobs) for name, knobs in wanted)


def _exported(folder: Path) -> dict[str, Any]:
    """What an exported folder says of the task and the target of its recipe."""
    if not (folder / SERVING).is_file():
        return {}
    serving = read_serving(folder)
    return {"task": serving.task.model_dump(mode="json"), "target": serving.target.model_dump(mode="json")}


def _merged(known: Any, given: Any) -> Any:
    return json.loads(json.dumps(known)) | given if isinstance(known, dict) and isinstance(given, dict) else given


def _check(recipe: Path, known: Mapping[str, Any]) -> None:
    missing = [f"--{key}" for key in ("model", "data") if not known.get(key.replace("data", "task"))]
    if missing:
        raise ConfigError(
            f"{recipe}: a recipe should be told what to act on. Give {' and '.join(missing)}, or --space SPACE.yaml, "
            "whose model, task and target are taken."
        )
