"""`kill -9` at every named point, of the process that passes it or of all; then the same command goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from lives import Lives, strike_each
from mlflow import MlflowClient
from tiny_project import SPACE, make_project
from typer.testing import CliRunner

import autocompress
from autocompress import cli
from autocompress.machine import entries, eviction, fault_points
from autocompress.study import Study
from autocompress.trials.artefacts import trial_key

KILLED = -signal.SIGKILL
THOROUGH = SPACE.replace("variants: 0, confirm: {top: 0}", "rungs: watch, variants: 0, confirm: {top: 1, seeds: 3}")
UNLIMITED = THOROUGH.replace("  - size_mb <= 0.95 * baseline\n", "")  # nothing is refused: every trial told is charged

# The passages that end a life each; what a life passes depends on what those before it left to do.
ALONE = [
    "baseline:1", "entry:2", "rehearsed:1", "asked:1", "aside:1", "entry:2", "trained:1", "lowered:1", "evaluated:1",
    "logged:1", "told:1", "aside:2", "confirmed:1", "entry:2",
]  # fmt: skip
# Of these lives, the coordinator's last passage ends each; before it, workers die of the others, each at another kind
# of job, because a second death of a job's worker would be taken for the recipe's fault.
ONE_BY_ONE = [
    "baseline:1,rehearsed:1,asked:4",
    "aside:2,lowered:1,told:4",
    "entry:3,logged:3",
    "trained:1,evaluated:1,confirmed:1",
]
EVERYTHING = [
    "baseline:1", "asked:2", "rehearsed:2", "aside:2", "entry:4", "trained:1", "lowered:2", "evaluated:2", "told:2",
    "logged:1", "confirmed:1",
]  # fmt: skip


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Lives]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        with closing(Lives(tmp_path_factory.mktemp("lives"))) as lives:
            yield lives


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    return make_project(tmp_path, UNLIMITED).parent


def test_one_worker_killed_at_every_point_equals_uninterrupted(home: Path, lives: Lives) -> None:
    make_project(home / "undisturbed", THOROUGH)
    assert lives.live(home / "undisturbed").exitcode == 0
    make_project(home, THOROUGH)
    for fatal in ALONE:
        life = lives.live(home, fatal)
        assert (life.exitcode, life.left) == (KILLED, []), f"{fatal}: it passed {life.passed}"
    assert lives.live(home).exitcode == 0
    expected, study = Study(home / "undisturbed" / "studies" / "killed"), Study.open("killed")
    assert facts(study) == facts(expected)
    assert study.confirmed == expected.confirmed
    for member in expected.front:
        files = [s.folder / trial_key(member.number) / "artefact" / "model.onnx" for s in (expected, study)]
        assert files[0].read_bytes() == files[1].read_bytes()
    check(study, 4)


def facts(study: Study) -> list[Any]:
    """What must not depend on whether a search was interrupted."""
    return [
        (t.number, t.state, t.recipe, t.measurement, t.violations, t.front, t.reason, t.variant_of, t.rungs)
        for t in study.trials
    ]


@pytest.mark.parametrize("everything", [False, True])
def test_three_workers_killed_at_every_point(home: Path, lives: Lives, everything: bool) -> None:
    trials = 9
    (home / "space.yaml").write_text(UNLIMITED.replace("trials: 4", f"trials: {trials}"))
    for fatal in EVERYTHING if everything else ONE_BY_ONE:
        life = lives.live(home, f"{fatal}:all" if everything else fatal, workers=3)
        assert (life.exitcode, life.left) == (KILLED, []), f"{fatal}: it passed {life.passed}"
        for point, count in (passage.split(":") for passage in fatal.split(",")):
            assert life.passed[point] >= int(count)
    assert lives.live(home, workers=3).exitcode == 0
    check(Study.open("killed"), trials)


def test_three_workers_each_killed_while_it_measures_and_while_it_trains(home: Path, lives: Lives) -> None:
    (home / "space.yaml").write_text(UNLIMITED.replace("trials: 4", "trials: 8"))
    struck = list[int]()

    def strike(pid: int) -> None:
        struck.extend(strike_each(pid, home / "measures") + strike_each(pid, home / "trains"))

    life = lives.live(home, workers=3, meanwhile=strike, pause=0.2)
    assert len(set(struck)) == 6
    assert (life.exitcode, life.left) == (0, [])
    check(Study.open("killed"), 8)


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


def test_every_point_is_named_where_it_is_passed_and_all_are_tested() -> None:
    sources = "".join(file.read_text() for file in Path(autocompress.__file__).parent.rglob("*.py"))
    assert all(f'faults.point("{name}")' in sources for name in fault_points.POINTS)
    assert sources.count("faults.point(") == len(fault_points.POINTS)
    for passages in (ALONE, ONE_BY_ONE, EVERYTHING):
        assert {passage.split(":")[0] for life in passages for passage in life.split(",")} == fault_points.POINTS.keys()
