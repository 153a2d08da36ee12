"""A study in Optuna's storage: trials are added whole and finished whole, each in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial

from autocompress.engine.optuna.records import STUDY
from autocompress.machine import interrupts
from autocompress.space.goals import Direction


class Database:
    """What a crash between any two calls leaves behind is what the calls before it wrote."""

    def __init__(self, path: Path | None, directions: list[Direction]) -> None:
        """`path`: an SQLite file; None: in memory."""
        self._storage = _sqlite(path) if path else InMemoryStorage()
        self._study = optuna.create_study(
            study_name=_name_in(self._storage), storage=self._storage, load_if_exists=True, directions=directions,
            sampler=optuna.samplers.RandomSampler(),  # never asked: sampling happens in a sketch of the study
        )  # fmt: skip

    def note(self, key: str, otherwise: Any) -> Any:
        """What was noted of the study as a whole."""
        return self._study.user_attrs.get(key, otherwise)

    @interrupts.waiting()
    def write_note(self, key: str, value: Any) -> None:
        """Note something of the study as a whole."""
        self._study.set_user_attr(key, value)

    def trials(self) -> list[FrozenTrial]:
        """Every trial, by number. Only what is new or was unfinished is read from the file."""
        return self._study.get_trials(deepcopy=False)

    @interrupts.waiting()
    def add(self, trial: FrozenTrial) -> None:
        """Write a RUNNING trial. It gets the number that comes next, and an id."""
        trial._trial_id = self._storage.create_new_trial(self._study._study_id, trial)

    @interrupts.waiting()
    def finish(self, before: FrozenTrial, told: FrozenTrial) -> None:
        """Write what became of a RUNNING trial: its attributes, state and values."""
        with self._transaction():
            for key, value in _new(told.user_attrs, before.user_attrs):
                self._storage.set_trial_user_attr(before._trial_id, key, value)
            for key, value in _new(told.system_attrs, before.system_attrs):
                self._storage.set_trial_system_attr(before._trial_id, key, value)
            self._storage.set_trial_state_values(before._trial_id, told.state, told.values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Optuna commits every attribute by itself, each a wait for the disk. Inside an outer transaction it cannot."""
        if not isinstance(self._storage, RDBStorage):
            yield
            return
        sessions, engine = self._storage.scoped_session, self._storage.engine
        with engine.begin() as connection:
            sessions.remove()
            sessions.configure(bind=connection)
            try:
                yield
            finally:
                sessions.remove()
                sessions.configure(bind=engine)


def _new(attrs: dict[str, Any], before: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in attrs.items() if key not in before or before[key] != value]


def _name_in(storage: BaseStorage) -> str:
    """A folder may be renamed, so its name is not the study's. Earlier versions thought so; the fullest is the one."""
    known = {study.study_name: study for study in storage.get_all_studies()}
    if STUDY in known or not known:
        return STUDY
    return max(known, key=lambda name: storage.get_n_trials(known[name]._study_id))


def _sqlite(path: Path) -> RDBStorage:
    """SQLite with a write-ahead log: half the waiting of a rollback journal, others may read while a search writes, and
    what is told is on the disk before the search goes on (`synchronous` stays FULL), so not even a power cut loses it.
    """
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    # no path stands in the URL: some signs have a meaning there
    made = {"creator": lambda: sqlite3.connect(path, check_same_thread=False)}
    return RDBStorage("sqlite:///study.db", engine_kwargs=made)
