"""A filled space of another version, for reading: what this version does not know of it is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import PrivateAttr, ValidationError

from autocompress.errors import ConfigError
from autocompress.space.goals import Constraint
from autocompress.space.recipe import Recipe
from autocompress.space.recorded import Traits
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import SearchSettings, Settings, Target, TaskSettings

Part = TypeVar("Part", bound=Settings)


class StoredSpace(SearchSpace):
    """Says what was searched for, where and on what. It has no steps: nothing can be proposed from it."""

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """As it was written."""
        return self._written


def plain(space: SearchSpace) -> dict[str, Any]:
    """The filled space as JSON gives it back."""
    dump: dict[str, Any] = json.loads(json.dumps(space.dump()))
    return dump


def read(written: dict[str, Any], root: Path) -> SearchSpace:
    """The space whose dump this is, if this version reads it as it was meant; else one that can only be looked at."""
    try:
        space = SearchSpace.parse(written, root=root)
    except ConfigError:
        return restore(written, root)
    return space if written == plain(space) else restore(written, root)


def restore(written: dict[str, Any], root: Path, traits: Traits | None = None) -> StoredSpace:
    """The space whose `dump` this once was. `traits`: of the methods of then, so that none is loaded.

    Raises `ConfigError` for a constraint or an objective that is unknown.
    """
    teacher = written.get("teacher")
    space = StoredSpace.model_construct(
        model=written["model"], start=written.get("start", "teacher"),
        teacher=Recipe.read([teacher], traits)[0] if isinstance(teacher, dict) else teacher,
        task=_known(TaskSettings, written["task"]), target=_known(Target, written["target"]),
        objectives=dict(written["objectives"]),
        constraints=tuple(Constraint.parse(text) for text in written["constraints"]),
        search=_known(SearchSettings, written["search"]), anchors=(), steps=(),
    )  # fmt: skip
    space._root, space._written = root, written
    return space


def _known(kind: type[Part], written: dict[str, Any]) -> Part:
    """Without what this version has no word for, and with its defaults for what it cannot take as it was."""
    known = {name: value for name, value in written.items() if name in kind.model_fields}
    try:
        return kind(**known)
    except ValidationError as e:
        refused = {error["loc"][0] for error in e.errors()}
        return kind(**{name: value for name, value in known.items() if name not in refused})
