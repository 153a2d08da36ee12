"""What the tests of kill -9 share: their space, and what is promised of a study that was killed and ended at last."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import optuna
from mlflow import MlflowClient
from tiny_project import SPACE
from typer.testing import CliRunner

from autocompress import cli
from autocompress.machine import entries, eviction
from autocompress.study import Study

KILLED = -signal.SIGKILL
THOROUGH = SPACE.replace("variants: 0, confirm: {top: 0}", "rungs: watch, variants: 0, confirm: {top: 1, seeds: 3}")
UNLIMITED = THOROUGH.replace("  - size_mb <= 0.95 * baseline\n", "")  # nothing is refused: every trial told is charged


def check(study: Study, charged: int) -> None:
    """What is promised of a study that was killed, however often, and ended at last."""
    trials = study.trials
    assert study.charged() == charged
    assert [t.number for t in trials] == list(range(len(trials)))
    assert {t.state for t in trials} <= {"complete", "refused", "duplicate"}
    assert len({t.recipe.key for t in trials if t.charged}) == charged
    told = optuna.load_study(study_name="autocompress", storage=f"sqlite:///{study.folder / 'study.db'}").get_trials()
    assert all(t.state.is_finished() for t in told)
    runs = mlflow_runs(study)
    assert sorted(runs) == sorted([("study", "FINISHED"), ("-1", "FINISHED"), *((str(t.number), "FINISHED")
                                  for t in trials if t.state == "complete")])  # fmt: skip
    assert {f.name for f in (study.folder / "trials").iterdir()} == {f"{t.number:03d}" for t in study.front}
    assert not list(study.folder.rglob(".*")), "nothing half-written is left"
    for draft in entries.cache_root().glob("*/.*"):  # swept once it is old
        assert draft.is_file()
        os.utime(draft, (0, 0))
    eviction.make_room(10**12)
    assert not list(entries.cache_root().glob("*/.*"))
    for lock in entries.cache_root().glob("*/*.lock"):
        with entries.builder_lock(lock.with_suffix(""), timeout=0):
            pass
    with study.held():
        assert said("studies")[0]["trained"] == charged
    assert [row["number"] for row in said("trials", study.name)][1:] == [t.number for t in study.listed()][1:]


def said(*command: str) -> Any:
    """What a command answers in JSON."""
    return json.loads(CliRunner().invoke(cli.app, [*command, "--json"], catch_exceptions=False).stdout)


def mlflow_runs(study: Study) -> list[tuple[str, str]]:
    """(trial, status) of the study's runs in MLflow."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`autocompress.study_id` = '{study.record['id']}'", max_results=500)
    return [(r.data.tags.get("autocompress.trial", "study"), r.info.status) for r in found]
