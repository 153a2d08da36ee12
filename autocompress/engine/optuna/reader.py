"""The trials as a study's database holds them, read without Optuna, whose loading takes longer than all else that a
command does which only reads.

Tables that are laid out otherwise than this version's Optuna lays them out are left to `store`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from autocompress.engine.optuna import records
from autocompress.engine.trial import Trial

_LAYOUT = "v3.2.0.a"  # the latest change that Optuna made to its tables
_KINDS = ("FloatDistribution", "IntDistribution", "CategoricalDistribution")
_OF_STUDY = "JOIN trials USING (trial_id) WHERE study_id = ?"
_PARAMS = f"SELECT trial_id, param_name, param_value, distribution_json FROM trial_params {_OF_STUDY} ORDER BY param_id"
_ATTRIBUTES = f"SELECT trial_id, key, value_json FROM trial_user_attributes {_OF_STUDY} AND key IN (?, ?)"

Row = tuple[int, dict[str, Any], dict[str, str]]  # number, parameters, attributes


class Reader:
    """Of one file, which a search may be writing to meanwhile."""

    def __init__(self, path: Path, read_recipe: records.ReadRecipe) -> None:
        self.path, self.read_recipe = path, read_recipe
        self._rows: list[Row] = []  # at the last look
        self._trials: list[Trial] = []

    def trials(self) -> list[Trial] | None:
        """Every trial there is, by number. None: the file is not laid out as this reads it."""
        if not self.path.exists():
            return []
        try:
            rows = _rows(self.path)
        except (sqlite3.Error, LookupError):  # it is for Optuna to mend it, or to say what is wrong
            return None
        if rows != self._rows:
            self._rows, self._trials = rows, [records.trial(*row, self.read_recipe) for row in rows]
        return list(self._trials)


def _rows(path: Path) -> list[Row]:
    """As they are at one moment. Raises `LookupError` for what is laid out otherwise."""
    # Not mode=ro: that would leave the files of the write-ahead log behind, of which it needs to make one.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
        database.execute("PRAGMA query_only = ON")
        database.execute("BEGIN")
        if database.execute("SELECT version_num FROM alembic_version").fetchall() != [(_LAYOUT,)]:
            raise LookupError("other tables")
        study = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (records.STUDY,)).fetchone()
        if study is None:
            raise LookupError("a study of an earlier version, under another name")
        numbers = database.execute("SELECT trial_id, number FROM trials WHERE study_id = ? ORDER BY number", study)
        rows: dict[int, Row] = {trial: (number, {}, {}) for trial, number in numbers}
        for trial, name, value, distribution in database.execute(_PARAMS, study):
            rows[trial][1][name] = _value(value, *_distribution(distribution))
        for trial, name, text in database.execute(_ATTRIBUTES, (*study, records.OUTCOME, records.RECIPE)):
            rows[trial][2][name] = json.loads(text)
    return list(rows.values())


@cache
def _distribution(text: str) -> tuple[str, tuple[Any, ...]]:
    """Its kind, and what it chooses from if it does."""
    written = json.loads(text)
    kind, choices = written["name"], tuple(written["attributes"].get("choices", ()))
    if kind not in _KINDS:
        raise LookupError(kind)
    return kind, choices


def _value(stored: float, kind: str, choices: tuple[Any, ...]) -> Any:
    """A parameter as it was suggested: Optuna keeps every one as a float, that of a choice by its place."""
    match kind:
        case "CategoricalDistribution":
            return choices[int(stored)]
        case "IntDistribution":
            return int(stored)
    return stored
