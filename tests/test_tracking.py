"""MLflow holds what the study holds: on real SQLite stores, a real server, and a server that is not there."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
)

from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError, Paused
from autocompress.space.axes import Axes
from autocompress.space.recipe import Recipe
from autocompress.tracking import study_runs
from autocompress.tracking import sync as tracking
from autocompress.tracking.connection import tracking_uri
from autocompress.tracking.runs import StudyView, points, study_run, trial_run
from autocompress.tracking.sync import Tracker
from autocompress.tracking.trouble import sentence
from autocompress.tracking.ui import serve_ui, server
from autocompress.trials.job import BASELINE

NO_SERVER = "http://127.0.0.1:9"

VIEW = StudyView(
    id="5f0c8a",
    name="sst2",
    experiment="sst2 on onnxruntime, cpu",
    description="**Constraints**: latency_ms <= 0.5 * baseline",
    tags={"autocompress.version": "0"},
    params={"model": "builtin/tiny", "search": {"seed": 0}, "long": "x" * 7000},
    axes=Axes(
        [
            {"one_of": ["skip", {"heads": {"keep": [0.25, 0.5]}}]},
            {"layers": {"keep": {"low": 0.3, "high": 0.9}, "strategy": "top"}},
            {"one_of": ["skip", {"int8_dynamic": {"per_token": True}}]},
        ],
        {},
    ),
)

FIRST_USE = """
import sys
from autocompress.engine.trial import Trial
from autocompress.space.recipe import Recipe
from autocompress.tracking.runs import StudyView
from autocompress.tracking.sync import Tracker
view = StudyView(id=sys.argv[2], name="first", experiment="first use")
sys.exit(not Tracker(sys.argv[1]).sync(view, [Trial(0, "complete", Recipe())]))
"""


def trial(number: int, state: Any = "complete", **more: Any) -> Trial:
    recipe = Recipe.load([{"layers": {"keep": 0.5}}, {"int8_dynamic": {}}])
    measured = {"score": 0.9, "latency_ms": 10 / 3, "size_mb": float("nan"), "parameters": 109482241.0}
    defaults = {
        "params": {"0": "skip", "1.layers.keep": 0.512345678, "2": "int8_dynamic"},
        "measurement": {} if state == "failed" else {"size_mb": 40.0} if state == "running" else measured,
        "violations": {"latency_ms <= 0.5 * baseline": -0.25, "score >= 0.98 * baseline": 0.0},
        "seconds": {"train": 60.0, "lower": 2.0},
    }
    return Trial(number, state, recipe, **(defaults | more))


TRIALS = [
    Trial(BASELINE, "complete", Recipe(), measurement={"score": 0.92, "latency_ms": 20.0}),
    trial(0, front=True),
    trial(1, "failed", reason="the loss is not finite", traceback="Traceback ...\nDiverged: the loss is not finite"),
    trial(2, "refused", reason="latency_ms is too high", violations={"latency_ms <= 0.5 * baseline": 0.4}),
    trial(3, "duplicate", duplicate_of=0, violations={}),
    trial(4, "stopped", reason="stopped at 1/3"),
    trial(5, "running"),
    trial(6, "running", measurement={}),  # under rehearsal: who knows whether it will be trained
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables were made by two searches that started at once."""
    store = tmp_path_factory.mktemp("store") / "mlflow.db"
    commands = [[sys.executable, "-c", FIRST_USE, f"sqlite:///{store}", name] for name in ("one", "two")]
    searches = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
    said = [search.communicate()[1] for search in searches]
    assert (said, [s.returncode for s in searches]) == (["", ""], [0, 0])
    return store


@pytest.fixture
def uri(template: Path, tmp_path: Path) -> str:
    shutil.copy(template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def synced(uri: str, trials: list[Trial] = TRIALS, view: StudyView = VIEW, folder: Path | None = None) -> Tracker:
    tracker = Tracker(uri, on_warning=pytest.fail)
    assert tracker.sync(view, trials, lambda trial: folder)
    return tracker


def runs(uri: str, name: str = VIEW.experiment) -> dict[str, Run]:
    """The study's runs by name; none stands twice."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def text(run: Run, name: str) -> str:
    return Path(run.info.artifact_uri, name).read_text()


def rows(uri: str) -> list[str]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as db:
        return list(db.iterdump())


def written(folder: Path) -> dict[Path, int]:
    """When each file of the store was written: the database and the artifacts."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_two_studies_that_start_at_once_share_a_new_store(template: Path) -> None:
    found = MlflowClient(f"sqlite:///{template}").search_runs(
        [MlflowClient(f"sqlite:///{template}").get_experiment_by_name("first use").experiment_id]
    )
    assert sorted(run.data.tags["autocompress.study_id"] for run in found) == ["one", "one", "two", "two"]


def test_a_study_is_a_run_with_its_trials_below(uri: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("model: builtin/tiny\n")
    synced(uri, view=replace(VIEW, artifacts=(tmp_path / "space.yaml", tmp_path / "not there.png")))
    found = runs(uri)
    assert {name: run.info.status for name, run in found.items()} == {
        "sst2": "RUNNING",
        "baseline": "FINISHED",
        "t000 layers+int8_dynamic": "FINISHED",
        "t001 layers+int8_dynamic": "FAILED",
        "t004 layers+int8_dynamic": "FINISHED",
        "t005 layers+int8_dynamic": "RUNNING",
    }
    study = found.pop("sst2")
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {study.info.run_id}
    assert study.data.params == {"model": "builtin/tiny", "search": '{"seed": 0}', "long": "x" * 6000}
    assert study.data.tags["mlflow.note.content"] == VIEW.description
    assert text(study, "space.yaml") == "model: builtin/tiny\n"
    assert json.loads(text(study, "refused.json"))["data"] == [
        [2, "layers+int8_dynamic", "refused", "latency_ms is too high", "latency_ms <= 0.5 * baseline: +40%"],
        [3, "layers+int8_dynamic", "duplicate", "the same recipe as trial 0", ""],
    ]
    assert Path(study.info.artifact_uri).is_relative_to(tmp_path / "mlartifacts")


def test_a_trial_shows_its_knobs_measurement_margins_and_seconds(uri: str) -> None:
    synced(uri)
    run = runs(uri)["t000 layers+int8_dynamic"]
    assert run.data.params == {"heads.keep": "1", "layers.keep": "0.5123", "int8_dynamic": "yes"}
    assert runs(uri)["baseline"].data.params == {"heads.keep": "1", "layers.keep": "1", "int8_dynamic": "no"}
    assert run.data.metrics == {
        "score": 0.9,
        "latency_ms": 3.33333,
        "parameters": 109482241.0,
        "constraint/latency_ms": 0.25,
        "constraint/score": 0.0,
        "seconds/train": 60.0,
        "seconds/lower": 2.0,
    }
    tags = {k.removeprefix("autocompress."): v for k, v in run.data.tags.items() if k.startswith("autocompress.")}
    key = TRIALS[1].recipe.key
    assert tags == {
        "kind": "trial", "study": "sst2", "study_id": "5f0c8a", "trial": "0", "state": "complete",
        "recipe": key, "feasible": "true", "front": "true", "reason": "", "variant_of": "",
        "methods": "layers, int8_dynamic",
    }  # fmt: skip
    assert json.loads(text(run, "recipe.json")) == TRIALS[1].recipe.dump()
    assert json.loads(text(run, "measurement.json"))["latency_ms"] == 10 / 3
    assert run.info.end_time - run.info.start_time >= 62_000


def test_the_filters_of_the_docs_find_what_they_say(uri: str) -> None:
    page = (Path(__file__).parent.parent / "docs" / "mlflow.md").read_text()
    filters = re.findall(r"^\| `(.+?)` \|", page, flags=re.M)
    synced(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(VIEW.experiment).experiment_id
    found = {each: len(client.search_runs([experiment], each)) for each in filters}
    assert found == {
        'tags."autocompress.front" = "true"': 1,
        'tags."autocompress.feasible" = "true"': 2,
        'tags."autocompress.state" = "stopped"': 1,
        'tags."autocompress.methods" LIKE "%int8_dynamic%"': 4,
        'params."layers.keep" = "0.5"': 0,
        "metrics.speedup > 2 AND metrics.score > 0.8": 0,
        'tags."autocompress.study" = "STUDY"': 0,
    }


def test_a_failed_trial_shows_its_reason_and_traceback(uri: str) -> None:
    synced(uri)
    run = runs(uri)["t001 layers+int8_dynamic"]
    assert run.data.tags["autocompress.reason"] == "the loss is not finite"
    assert text(run, "traceback.txt") == TRIALS[2].traceback


def test_a_second_sync_writes_nothing(uri: str, tmp_path: Path) -> None:
    tracker = synced(uri)
    before = rows(uri), written(tmp_path)
    assert tracker.sync(VIEW, TRIALS)
    synced(uri)  # nor does a new process, which has to learn first
    assert (rows(uri), written(tmp_path)) == before


def test_the_front_moves_on(uri: str) -> None:
    tracker = synced(uri)
    trials = [replace(t, front=t.number == 6) for t in [*TRIALS, trial(6)]]
    assert tracker.sync(VIEW, trials)
    tags = {name: run.data.tags.get("autocompress.front") for name, run in runs(uri).items()}
    assert [name for name, front in tags.items() if front == "true"] == ["t006 layers+int8_dynamic"]
    assert tags["t000 layers+int8_dynamic"] == "false"


def test_a_search_that_was_killed_goes_on_in_the_same_runs(uri: str) -> None:
    synced(uri)
    before = {name: run.info.run_id for name, run in runs(uri).items()}
    synced(uri, [*TRIALS[:-1], trial(5)])
    after = runs(uri)
    assert {name: run.info.run_id for name, run in after.items()} == before
    finished = after["t005 layers+int8_dynamic"]
    assert (finished.info.status, finished.data.metrics["score"]) == ("FINISHED", 0.9)


def test_nothing_stays_running_after_a_search_and_a_resumed_one_reopens_it(uri: str) -> None:
    tracker = synced(uri)
    assert tracker.sync(replace(VIEW, status="KILLED"), TRIALS)
    status = {name: run.info.status for name, run in runs(uri).items()}
    assert (status["sst2"], status["t005 layers+int8_dynamic"]) == ("KILLED", "KILLED")
    synced(uri)
    status = {name: run.info.status for name, run in runs(uri).items()}
    assert (status["sst2"], status["t005 layers+int8_dynamic"]) == ("RUNNING", "RUNNING")


def test_a_running_run_whose_trial_is_gone_is_killed(uri: str) -> None:
    synced(uri)
    synced(uri, TRIALS[:-2])
    assert runs(uri)["t005 layers+int8_dynamic"].info.status == "KILLED"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["create_run", "log_artifacts", "log_batch", "set_terminated"])
def test_a_sync_cut_off_anywhere_is_completed(
    uri: str, call: str, when: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    real = getattr(MlflowClient, call)
    calls: list[str] = []

    def cut(*args: Any, **kwargs: Any) -> Any:
        calls.append(call)
        if len(calls) == 2 and when == "before":
            raise KeyboardInterrupt
        answer = real(*args, **kwargs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer

    tracker = synced(uri, TRIALS[:2], folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, cut)
        with pytest.raises(KeyboardInterrupt):
            tracker.sync(VIEW, TRIALS, lambda trial: tmp_path)
    assert tracker.sync(VIEW, TRIALS, lambda trial: tmp_path)
    found = runs(uri)
    parent = found["sst2"].info.run_id
    for wanted in [study_run(VIEW, TRIALS)] + [trial_run(VIEW, TRIALS[i], None, parent) for i in (0, 1, 2, 5, 6)]:
        run = found.pop(wanted.name)
        assert (run.info.status, run.data.params) == (wanted.status, wanted.params)
        assert wanted.tags.items() <= run.data.tags.items()
        assert wanted.metrics.items() <= run.data.metrics.items()
        assert {name: text(run, name).encode() for name in wanted.artifacts} == wanted.artifacts
        if wanted.name != "sst2":
            (point,) = MlflowClient(uri).get_metric_history(run.info.run_id, "train/loss")
            assert (point.step, point.value) == (1, 2.5)
    assert found == {}


def test_a_run_that_was_made_twice_is_deleted(uri: str) -> None:
    synced(uri)
    client, twin = MlflowClient(uri), runs(uri)["t004 layers+int8_dynamic"]
    client.create_run(twin.info.experiment_id, tags=twin.data.tags)
    synced(uri)
    assert runs(uri)["t004 layers+int8_dynamic"].info.run_id == twin.info.run_id


def test_the_training_curve_grows_with_the_file(uri: str, tmp_path: Path) -> None:
    curve = tmp_path / "curve.jsonl"
    curve.write_text("".join(f'{{"step": {n}, "loss": {n / 8}}}\n' for n in range(1, 1501)) + '{"step": 1501, "lo')
    tracker = synced(uri, [trial(0, "running")], folder=tmp_path)
    with curve.open("a") as file:
        file.write('ss": 0.5}\n')
    assert tracker.sync(VIEW, [trial(0)], lambda trial: tmp_path)
    run = runs(uri)["t000 layers+int8_dynamic"]
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "train/loss")
    assert sorted((p.step, p.value) for p in history) == [(n, n / 8) for n in range(1, 1501)] + [(1501, 0.5)]
    assert points(curve, 1500) == ([("train/loss", 0.5, 1501)], 1501)


def test_two_constraints_on_one_quantity_have_their_own_margins(uri: str) -> None:
    violations = {"size_mb <= 40": 0.5, "size_mb <= 0.5 * baseline": -0.5}
    synced(uri, [trial(0, violations=violations)])
    margins = {k: v for k, v in runs(uri)["t000 layers+int8_dynamic"].data.metrics.items() if "constraint" in k}
    assert margins == {"constraint/size_mb at most 40": -0.5, "constraint/size_mb at most 0.5 x baseline": 0.5}


def test_studies_of_one_name_are_told_apart(uri: str) -> None:
    synced(uri, TRIALS[:1])
    synced(uri, TRIALS[:1], view=replace(VIEW, id="other"))
    found = MlflowClient(uri).search_runs(["2"])
    assert sorted(run.data.tags["autocompress.study_id"] for run in found) == ["5f0c8a", "5f0c8a", "other", "other"]


def test_a_server_that_is_not_there_is_said_once_and_costs_no_time(uri: str) -> None:
    said: list[str] = []
    tracker = Tracker(NO_SERVER, said.append)
    start = time.monotonic()
    assert [tracker.sync(VIEW, TRIALS) for _ in range(3)] == [False, False, False]
    assert tracker.sync(replace(VIEW, status="FINISHED"), TRIALS) is False  # the last one tries again at once
    assert time.monotonic() - start < 10
    assert said == [
        "MLflow at http://127.0.0.1:9 does not answer ([Errno 111] Connection refused): the search goes on; "
        "`autocompress sync sst2` will log what is missing"
    ]
    synced(uri)  # the replay, elsewhere
    assert len(runs(uri)) == 6


def test_what_an_outage_left_out_is_logged_afterwards(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.0)
    store, said = tmp_path / "mlflow.db", list[str]()
    tracker = Tracker(f"sqlite:///{store}", said.append)
    store.write_text("not a database, and long enough to be taken for one" * 20)
    assert not tracker.sync(VIEW, TRIALS[:2])
    assert not tracker.sync(VIEW, TRIALS[:3])
    assert [line.partition("(")[2].partition(")")[0] for line in said] == ["file is not a database"]
    shutil.copy(template, store)
    assert tracker.sync(VIEW, TRIALS)
    assert len(runs(tracker.uri)) == 6


def test_a_deleted_experiment_is_no_server_that_does_not_answer_and_comes_back(uri: str) -> None:
    said: list[str] = []
    tracker, client = Tracker(uri, said.append), MlflowClient(uri)
    assert tracker.sync(VIEW, TRIALS[:2])
    client.delete_experiment(client.get_experiment_by_name(VIEW.experiment).experiment_id)  # while the search runs
    assert not tracker.sync(VIEW, TRIALS)
    deleted = (
        f"MLflow at {uri}: the experiment {VIEW.experiment!r} was deleted there "
        "(`autocompress sync sst2 --restore` brings it back with all it held)"
    )
    assert said == [f"{deleted}: the search goes on; `autocompress sync sst2` will log what is missing"]
    with pytest.raises(Paused) as raised:
        Tracker(uri).run_of(VIEW, TRIALS[1])
    assert str(raised.value) == f"{deleted}."
    later = Tracker(uri)
    later.restore(VIEW)
    assert later.sync(VIEW, TRIALS)
    assert len(runs(uri)) == 6


def test_an_experiment_that_was_renamed_is_gone_on_with_and_a_deleted_run_is_made_again(uri: str) -> None:
    client, tracker = MlflowClient(uri), synced(uri, TRIALS[:2])
    client.rename_experiment(client.get_experiment_by_name(VIEW.experiment).experiment_id, "mine")
    client.delete_run(runs(uri, "mine")["t000 layers+int8_dynamic"].info.run_id)
    assert tracker.sync(VIEW, [TRIALS[0], replace(TRIALS[1], front=False), *TRIALS[2:]])
    synced(uri)
    assert client.get_experiment_by_name(VIEW.experiment) is None
    assert len(runs(uri, "mine")) == 6


def test_a_study_of_an_older_version_goes_on_where_it_began(uri: str) -> None:
    older = replace(VIEW, experiment="train on onnxruntime", axes=None)
    synced(uri, view=older)
    synced(uri, view=replace(older, id="another study", experiment="train on openvino"))
    now = replace(VIEW, experiment="reviews (9fe2c1)", identity="reviews and target", formerly=older.experiment)
    before = {name: run.info.run_id for name, run in runs(uri, older.experiment).items()}
    synced(uri, [*TRIALS, trial(7)], view=now)
    after = runs(uri, older.experiment)
    assert {name: after[name].info.run_id for name in before} == before
    finished = after["t000 layers+int8_dynamic"].data.params
    assert finished["1.layers.keep"] == "0.5123"  # what MLflow holds is never taken back
    assert (finished["layers.keep"], finished["heads.keep"]) == ("0.5123", "1")
    assert runs(uri, now.experiment) == {}
    synced(uri, view=replace(now, id="new"))  # of another study no run is there
    assert len(runs(uri, now.experiment)) == 6


def test_an_experiment_is_known_by_what_it_is_of_also_under_another_name(uri: str) -> None:
    synced(uri, TRIALS[:2], view=replace(VIEW, identity="reviews and target"))
    synced(uri, TRIALS[:2], view=replace(VIEW, id="new", experiment="moved (9fe2c1)", identity="reviews and target"))
    client = MlflowClient(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == VIEW.experiment)
    assert len(client.search_runs([experiment.experiment_id])) == 6
    assert client.get_experiment_by_name("moved (9fe2c1)") is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MlflowException("no", PERMISSION_DENIED), "denies access (no). Check your credentials for it"),
        (MlflowException("full", RESOURCE_EXHAUSTED), "takes no more for now: a limit of the server is reached (full)"),
        (MlflowException("no", TEMPORARILY_UNAVAILABLE), "does not answer (no)"),
        (TimeoutError("timed out"), "does not answer (timed out)"),
        (MlflowException("a param changed", INVALID_PARAMETER_VALUE), "did not take what was logged (a param changed)"),
    ],
)
def test_what_mlflow_says_is_told_from_its_silence(error: Exception, said: str) -> None:
    assert sentence(error, "here") == f"MLflow at here {said}"


def test_a_server_that_stays_away_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], list[float]()

    def connect(uri: str) -> None:
        asked.append(now[0])
        raise TimeoutError

    monkeypatch.setattr(study_runs, "connect", connect)
    monkeypatch.setattr(tracking.time, "monotonic", lambda: now[0])
    tracker = Tracker("http://192.0.2.1", lambda said: None)
    for second in range(4 * 3600):
        now[0] = float(second)
        tracker.sync(VIEW, TRIALS)
    assert asked[:5] == [0.0, 30.0, 90.0, 210.0, 450.0]
    assert max(b - a for a, b in itertools.pairwise(asked)) == 1800.0


def test_the_table_of_the_refused_is_not_sent_again_for_every_row(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, real = list[int](), MlflowClient.log_artifacts

    def count(client: MlflowClient, run: str, folder: str) -> None:
        table = Path(folder, "refused.json")
        sent.extend([len(json.loads(table.read_text())["data"])] if table.is_file() else [])
        real(client, run, folder)

    monkeypatch.setattr(MlflowClient, "log_artifacts", count)
    tracker, refused = Tracker(uri, pytest.fail), [trial(i, "refused", reason="too large") for i in range(40)]
    for some in range(1, 40):
        assert tracker.sync(VIEW, [TRIALS[0], *refused[:some]])
    assert sent == [1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37]
    assert tracker.sync(replace(VIEW, status="FINISHED"), [TRIALS[0], *refused])
    assert sent[-1] == 40


def test_a_password_is_not_said() -> None:
    said: list[str] = []
    assert not Tracker("http://me:secret@127.0.0.1:9", said.append).sync(VIEW, TRIALS)
    assert said[0].startswith("MLflow at http://***@127.0.0.1:9 does not answer")


def test_a_page_of_a_store_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(Paused) as said:
        Tracker(NO_SERVER).page(VIEW)
    assert str(said.value) == "MLflow at http://127.0.0.1:9 does not answer ([Errno 111] Connection refused)."


def test_the_default_store_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri() == "http://mlflow.example:5000"


@pytest.mark.slow
def test_the_server_answers_with_the_runs_and_ends_with_its_workers(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = synced(uri).page(VIEW)
    experiment = page.split("/")[2]
    with server(uri) as (process, address):
        ask = urllib.request.Request(
            f"{address}/api/2.0/mlflow/runs/search",
            json.dumps({"experiment_ids": [experiment]}).encode(),
            {"Content-Type": "application/json"},
        )
        listed = json.load(urllib.request.urlopen(ask))["runs"]
        tags = MlflowClient(uri).get_experiment(experiment).tags
        synced(address, view=replace(VIEW, experiment="through the server"))
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConfigError) as taken:
            serve_ui(uri, page, port=port)
    assert {run["info"]["run_name"] for run in listed} == set(runs(uri))
    assert capfd.readouterr() == ("", "")
    proxied = runs(uri, "through the server")["sst2"].info.artifact_uri.removeprefix("mlflow-artifacts:/")
    assert (tmp_path / "mlartifacts" / proxied / "refused.json").is_file()
    assert page == f"#/experiments/{experiment}/runs?viewStateShareKey=5f0c8a&workflowType=machine_learning"
    assert json.loads(tags["mlflow.sharedViewState.5f0c8a"])["name"] == "sst2"
    assert str(taken.value) == (
        f"--port: something else listens there. Got {port}. Leave --port out and a free one is taken."
    )
    assert process.poll() is not None
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/health", timeout=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlartifacts", "mlflow.db"]


def test_where_a_server_runs_already_only_its_address_is_said() -> None:
    said: list[str] = []
    serve_ui("https://mlflow.example/", "#/experiments/3", "#/compare-runs", say=said.append)
    assert said == ["https://mlflow.example/#/experiments/3\nhttps://mlflow.example/#/compare-runs"]
