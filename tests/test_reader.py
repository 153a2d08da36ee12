"""A study is read without Optuna: as Optuna reads it, or not at all."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.engine.optuna.reader import Reader
from autocompress.engine.optuna.store import Store
from autocompress.engine.trial import Trial
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.space.settings import SearchSettings
from autocompress.study import Study

OBJECTIVES = {"score": "maximize", "size_mb": "minimize"}


def sample(trial: Any) -> Recipe:
    """Every kind of parameter there is."""
    keep = trial.suggest_float("0.layers.keep", 0.1, 0.9)
    lr = trial.suggest_float("1.finetune.lr", 1e-5, 1e-3, log=True)
    epochs = trial.suggest_int("1.finetune.epochs", 1, 5)
    trial.suggest_int("2.rank", 8, 64, step=8)
    trial.suggest_float("2.step", 0.25, 0.75, step=0.25)
    for name, choices in {"words": ["ä", "b"], "flags": [False, True], "mixed": [None, 1, 2.5, "x"]}.items():
        trial.suggest_categorical(f"2.{name}", choices)
    return Recipe([find("layers")(keep=keep), find("finetune")(lr=lr, epochs=epochs)])


def opened(folder: Path) -> Store:
    return Store(folder / "study.db", OBJECTIVES, SearchSettings(seed=3))


def outcomes(trials: list[Trial]) -> list[Trial]:
    """One of every state, with all that may be known of a trial. The last one stays under way."""
    measured = {"score": 0.75, "size_mb": 9.0, "latency_ms": 0.1 + 0.2, "ratio": math.inf}
    known = {"measurement": measured, "violations": {"size_mb <= 9.5": 9 / 9.5 - 1}, "seconds": {"train": 1 / 3}}
    first, second, third, fourth, fifth, sixth, seventh, _ = trials
    return [
        replace(first, state="complete", rungs={"0.111": 0.5}, rung_seconds={"0.111": 2.0}, ended=12.5, **known),
        replace(second, state="complete", variant_of=0, **known),
        replace(third, state="refused", measurement={"size_mb": 90.0}, violations={"size_mb <= 9.5": 8.5}, reason="ß"),
        replace(fourth, state="stopped", measurement={"size_mb": 9.0}, reason="it falls behind"),
        replace(fifth, state="failed", reason="out of memory", traceback="line\nline", unexpected=True),
        replace(sixth, state="failed", reason="it diverged", diverged="0123456789abcdef"),
        replace(seventh, state="duplicate", duplicate_of=0, **known),
    ]  # fmt: skip


def filled(store: Store) -> None:
    for trial in outcomes([store.ask(sample) for _ in range(8)]):
        store.tell(trial)


def reader(folder: Path) -> Reader:
    return Reader(folder / "study.db", Recipe.read)


def test_it_gives_the_trials_that_optuna_gives(tmp_path: Path) -> None:
    store = opened(tmp_path)
    filled(store)
    told = store.ask(sample)
    opened(tmp_path).tell(replace(told, state="failed", reason="again"))  # taken up by the process that resumed
    found = reader(tmp_path).trials()
    assert found == opened(tmp_path).trials()
    assert found is not None
    assert [t.state for t in found] == [
        "complete", "complete", "refused", "stopped", "failed", "failed", "duplicate", "running", "failed"
    ]  # fmt: skip
    for mine, theirs in zip(found, opened(tmp_path).trials(), strict=True):  # 1, 1.0 and True are equal
        assert repr(vars(mine)) == repr(vars(theirs))
        assert len(mine.params) == 8


def test_it_sees_what_a_search_writes_meanwhile(tmp_path: Path) -> None:
    store, other = opened(tmp_path), reader(tmp_path)
    assert other.trials() == []
    asked = store.ask(sample)
    assert other.trials() == [asked]
    done = replace(asked, state="failed", reason="no")
    store.tell(done)
    assert other.trials() == [done]
    again = other.trials()
    assert again is not None
    assert again[0] is (other.trials() or [])[0], "nothing is read anew that has not changed"


def test_a_study_that_has_no_database_yet_gets_none(tmp_path: Path) -> None:
    assert reader(tmp_path).trials() == []
    assert not list(tmp_path.iterdir())


def test_what_a_killed_search_left_in_the_log_is_read_and_a_reader_leaves_no_files(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_reader import filled, opened
filled(opened(Path({str(tmp_path)!r})))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "study.db-wal").stat().st_size > 0
    found = reader(tmp_path).trials()
    assert found is not None
    assert len(found) == 8
    assert [file.name for file in tmp_path.iterdir()] == ["study.db"]
    assert found == opened(tmp_path).trials()


OTHERWISE = {
    "a later layout": "UPDATE alembic_version SET version_num = 'v9.9.9.a'",
    "one that says nothing": "DELETE FROM alembic_version",
    "before there were layouts": "DROP TABLE alembic_version",
    "no attributes": "DROP TABLE trial_user_attributes",
    "another column": "ALTER TABLE trial_params RENAME COLUMN param_value TO value",
    "another name of the study": "UPDATE studies SET study_name = 'an older one'",
    "another kind of parameter": "UPDATE trial_params SET distribution_json = replace(distribution_json, 'Int', 'New')",
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_what_is_laid_out_otherwise_is_left_to_optuna(change: str, tmp_path: Path) -> None:
    filled(opened(tmp_path))
    changed(tmp_path, change)
    assert reader(tmp_path).trials() is None


def test_what_is_no_database_is_left_to_optuna(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is not a database, whatever its name says, and never was one " * 20)
    assert reader(tmp_path).trials() is None


def changed(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_study_falls_back_on_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = {"model": "./model", "task": {"data": {"train": "train.csv"}}, "steps": ["finetune"]}
    Path("space.yaml").write_text(json.dumps(space))
    folder = Study.create(Path("space.yaml")).folder
    objectives = Study.open("space").brief.objectives
    filled(Store(folder / "study.db", objectives, SearchSettings(seed=3)))
    known = Study.open("space").trials
    assert len(known) == 8
    changed(folder, OTHERWISE["another name of the study"])
    assert Study.open("space").trials == known
    changed(folder, OTHERWISE["a later layout"])
    with pytest.raises(RuntimeError, match="Please try updating optuna to the latest version"):
        _ = Study.open("space").trials
