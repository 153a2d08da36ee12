"""The command line as a person or a program meets it: its output and its exit code; of a process where that matters."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import environment, run_here, run_process
from mlflow import MlflowClient
from pyarrow import parquet
from tiny_project import SPACE, make_project

import autocompress
from autocompress import cli
from autocompress.cli.examples import EXAMPLES
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.study import Study
from autocompress.tracking import observer

RUNGS = SPACE.replace("variants: 0", "variants: 2, rungs: watch").replace("0.95 * baseline", "0.8 * baseline")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Path:
    """A project with one finished search of three trials in it."""
    folder = tmp_path_factory.mktemp("home")
    make_project(folder)
    done = run_process(folder, "search", "space.yaml", "--trials", "3")
    assert done.returncode == 0, done.stderr
    (folder / "search.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of this file alone: an experiment is called after the first folder that had its data."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True, scope="module")
def one_database(mlflow_uri: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        yield


def test_a_search_says_what_it_does_and_what_to_type_next(home: Path) -> None:
    said = (home / "search.txt").read_text()
    assert "baseline  0." in said
    assert "t000  layers 0.5 + finetune + int8_dynamic" in said
    assert "The front of space" in said
    assert "On the untouched test split it scores" in said
    for line in (
        "autocompress predict exported/space",
        "autocompress resume space --trials 23",
        "autocompress ui space",
    ):
        assert line in said


def test_for_programs_a_search_prints_its_result_alone(home: Path) -> None:
    done = run_process(home, "resume", "space", "--trials", "3", "--json", "--to", "for_programs")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["study", "folder", "trained", "ended", "baseline", "front", "chosen"]
    assert (found["study"], found["trained"], found["ended"]) == ("space", 3, "all of its trials are done")
    chosen = found["chosen"]
    assert chosen["number"] in [trial["number"] for trial in found["front"]]
    assert 0 <= chosen["test_score"] <= 1
    assert (home / chosen["folder"] / "model.onnx").is_file()
    assert "The study 'space' has its 3 trials already" in done.stderr, "what happens is told elsewhere"
    quiet = run_here(home, "resume", "space", "--trials", "3", "--quiet", "--to", "for_programs")
    assert quiet.stdout.startswith("\nThe front of space\n")
    assert "already" not in quiet.stdout + quiet.stderr


def test_predict_answers_from_the_exported_folder(home: Path) -> None:
    done = run_process(home, "predict", "exported/space", "honey tree", "vinegar stone", "--json")
    assert [answer["label"] for answer in json.loads(done.stdout)] == ["sweet", "sour"]
    assert "sweet" in run_here(home, "predict", "exported/space", "honey tree").stdout


def test_mlflow_shows_the_study_by_what_it_decides_and_compares_its_front(
    home: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(observer, "serve_ui", lambda uri, *pages, port: shown.extend(pages))
    assert run_here(home, "ui", "space", "--compare").returncode == 0
    study, client = Study.open(str(home / "studies" / "space")), MlflowClient(mlflow_uri)
    experiment = client.get_experiment(shown[0].split("/")[2])
    assert re.fullmatch(
        rf"text-classification · {home.name} \([0-9a-f]{{6}}\) on onnxruntime cpu, 1 thread, 1 x 16 tokens",
        experiment.name,
    )
    saved = json.loads(experiment.tags[f"mlflow.sharedViewState.{study.record['id']}-front"])
    parallel = json.loads(saved["state"])["compareRunCharts"][0]
    assert parallel["selectedMetrics"] == ["latency_ms", "size_mb", "score"]
    known = {run.data.tags["autocompress.trial"]: run for run in client.search_runs([experiment.experiment_id])
             if run.data.tags["autocompress.kind"] != "study"}  # fmt: skip
    assert set(parallel["selectedParams"]) <= {"pruning", "neurons.keep", "soft_labels", "finetune.lr", "int8_dynamic"}
    assert known["0"].data.params["neurons.keep"] == "1"
    assert known["0"].data.params["pruning"] == "layers"
    assert known["0"].data.metrics["size_ratio"] > 1
    for trial in study.front:
        assert known[str(trial.number)].info.run_id in shown[1]
    told = client.get_run(known["0"].data.tags["mlflow.parentRunId"]).data.tags["mlflow.note.content"]
    assert told.startswith(f"**{study.best().label}** wins by knee")
    assert "| trial&ensp; | recipe&ensp; |" in told
    assert "- `size_mb <= 0.95 * baseline`: the limit is" in told


def test_the_exported_onnx_file_needs_no_autocompress(home: Path) -> None:
    code = (
        "import onnxruntime, numpy, sys; s = onnxruntime.InferenceSession('exported/space/model.onnx');"
        "x = numpy.array([[2, 14, 3]]); print(s.run(None, {i.name: x * 0 + (1 if 'mask' in i.name else 0) if i.name != "
        "'input_ids' else x for i in s.get_inputs()})[0].shape); assert 'autocompress' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 2)", done.stderr


@pytest.mark.slow
def test_a_study_becomes_a_table_from_which_its_trainings_can_be_replayed(tmp_path: Path) -> None:
    make_project(tmp_path, RUNGS)
    assert run_here(tmp_path, "search", "space.yaml", "--trials", "3").returncode == 0
    done = run_here(tmp_path, "tabulate", "space", "--to", "tables/space.parquet")
    assert done.returncode == 0, done.stderr
    study = autocompress.open_study(str(tmp_path / "studies" / "space"))
    file = parquet.read_table(tmp_path / "tables" / "space.parquet")
    assert done.stdout == f"tables/space.parquet holds {file.num_rows} recipes of the study 'space'.\n"
    rows, trials = file.to_pylist(), {t.number: t for t in study.trials}
    assert [row["number"] for row in rows] == [n for n, t in trials.items() if t.state != "duplicate"]
    assert {"complete", "refused"} <= {row["state"] for row in rows}
    for row in rows:
        trial = trials[row["number"]]
        trained = trials.get(trial.variant_of, trial) if trial.variant_of is not None else trial
        assert Recipe.load(json.loads(row["recipe"])) == trial.recipe
        assert [row["rung_0.111"], row["rung_0.333"]] == [trained.rungs.get(s) for s in ("0.111", "0.333")]
        assert (row["score"], row["size_mb"]) == tuple(trial.measurement.get(name) for name in ("score", "size_mb"))
        assert row["seconds_rehearse"] == trial.seconds.get("rehearse")
        spent = [row[f"rung_seconds_{share}"] for share in ("0.111", "0.333", "1.000")]
        assert (0 < spent[0] < spent[1] < spent[2]) if trained.charged else spent == [None] * 3
    variants = [row for row in rows if row["variant_of"] is not None]
    assert variants
    assert all(row["training"] == rows[[r["number"] for r in rows].index(row["variant_of"])]["training"]
               for row in variants)  # fmt: skip
    facts = json.loads(file.schema.metadata[b"autocompress"])
    assert facts["baseline"] == study.baseline.measurement
    assert SearchSpace.parse(facts["space"]).fingerprint == study.space.fingerprint


@pytest.mark.slow
def test_a_fresh_process_gives_the_measured_models_logits(home: Path) -> None:
    """The pipeline runs the very file that was measured; the module computes the same up to int8 rounding."""
    code = """
import json, numpy, torch, autocompress
from autocompress.tasks.tokenization import encode
texts = ["honey tree river", "vinegar stone", "sugar light green"]
pipeline, model = autocompress.pipeline("exported/space"), autocompress.load("exported/space")
rows = [encode(pipeline.tokenizer, [(t,)], 16) for t in texts]
with torch.no_grad():
    by_module = [model(**{k: torch.tensor(v) for k, v in row.items()}).logits[0].tolist() for row in rows]
print(json.dumps([pipeline.logits(texts).tolist(), by_module]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=home, env=environment(home), capture_output=True, text=True)
    runtime, module = json.loads(done.stdout)
    for a, b in zip(runtime, module, strict=True):
        assert a == pytest.approx(b, abs=0.6)
        assert a.index(max(a)) == b.index(max(b))


def test_the_json_shapes_that_programs_rely_on(home: Path) -> None:
    trials = json.loads(run_here(home, "trials", "space", "--json").stdout)
    assert [t["number"] for t in trials] == [-1, 0, 1, 2]
    assert all(
        list(t) == ["number", "state", "recipe", "score", "latency_ms", "size_mb", "speedup", "feasible", "front",
                    "reason", "seconds", "variant_of"] for t in trials
    )  # fmt: skip
    methods = json.loads(run_here(home, "methods", "--json").stdout)
    assert {"layers", "heads", "neurons", "low_rank", "soft_labels", "hidden_states", "int8_dynamic", "finetune"} <= {
        m["name"] for m in methods
    }
    assert all(list(m) == ["name", "family", "stage", "pays_in", "pays", "knobs"] for m in methods)
    assert json.loads(run_here(home, "show", "space.yaml", "--json").stdout)["steps"][1] == {
        "one_of": ["skip", {"soft_labels": {"temperature": {"low": 1.0, "high": 8.0},
                                            "weight": {"low": 0.1, "high": 10.0, "log": True}}}]
    }  # fmt: skip
    assert json.loads(run_here(home, "schema").stdout)["type"] == "object"
    assert json.loads(run_here(home, "studies", "--json").stdout)[0]["study"] == "space"


def test_tables_are_for_people(home: Path) -> None:
    assert "when it pays" in run_here(home, "methods").stdout
    assert "arXiv:1503.02531" in run_here(home, "methods", "soft_labels").stdout
    assert "finetune" in run_here(home, "trials", "space").stdout
    front = run_here(home, "trials", "space", "--front", "--sort", "size_mb").stdout
    assert 0 < front.count(" front") < 4
    assert "baseline" in front
    assert "latency_ms" in run_here(home, "compare", "space", "-1", "0").stdout
    assert "space" in run_here(home, "studies").stdout
    assert "in order." in run_here(home, "validate", "space.yaml").stdout
    assert "temperature" in run_here(home, "show", "space.yaml").stdout


def test_the_cache_says_what_it_holds_and_is_cleared(home: Path, tmp_path: Path) -> None:
    said = run_process(home, "cache").stdout
    assert "teachers" in said
    assert f"{home / 'cache'} holds " in said.replace("\n", "")
    shutil.copytree(home / "cache", tmp_path / "cache")
    before = json.loads(run_here(tmp_path, "cache", "--json").stdout)
    assert list(before) == ["folder", "limit", "freed", "kinds"]
    assert all(list(row) == ["kind", "entries", "bytes", "oldest_use", "newest_use"] for row in before["kinds"])
    assert "teachers" not in run_here(tmp_path, "cache", "teachers", "--clear").stdout
    assert json.loads(run_here(tmp_path, "cache", "--clear", "--json").stdout)["kinds"] == []
    said = run_here(tmp_path, "cache").stdout
    assert said == f"{tmp_path / 'cache'} holds 0 B, 20 GB at most (AUTOCOMPRESS_CACHE_GB).\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "nowhere.yaml"], "nowhere.yaml: there is no such file."),
        (["trials", "spce"], "there is no study 'spce' in studies/. Did you mean 'space'?"),
        (["trials", "space", "--sort", "scor"], "--sort: there is no column 'scor'. Did you mean 'score'?"),
        (["trials", "space", "--front", "--refused"], "trials: what was refused is never on the front."),
        (["cache", "teacher"], "the cache holds nothing of the kind 'teacher'. Did you mean 'teachers'?"),
        (["methods", "magnitud"], "there is no method 'magnitud'. Did you mean 'magnitude'?"),
        (
            ["predict", "model", "x"],
            "model: there is no exported model here. `autocompress export STUDY --to model` makes",
        ),
        (
            ["export", "space", "--to", "out", "--trial", "99"],
            "the study 'space' has no trial 99. The nearest is t002 ",
        ),
        (
            ["compare", "space", "t000", "t0x"],
            "a trial is a number such as 17 or t017, or baseline. Got 't0x'.",
        ),
        (["export", "space", "--to", "model"], "model: it is not empty and not an exported model. Give a new folder."),
        (
            ["resume", "space", "--trials", "9", "--to", "space.yaml"],
            "space.yaml: it should be a folder, and space.yaml is a file. Give a new folder with --to.",
        ),
        (["export", "space", "--to", "out", "--rule", "fastet"], "there is no rule 'fastet'. Did you mean 'fastest'?"),
        (
            ["resume", "space", "--timeout", "soon"],
            "--timeout: it should be a time such as 90s, 30m or 2h. Got 'soon'.",
        ),
        (["resume", "space", "--timeout", "²"], "--timeout: it should be a time such as 90s, 30m or 2h. Got '²'."),
    ],
)
def test_a_wrong_input_is_one_sentence_on_standard_error(home: Path, arguments: list[str], message: str) -> None:
    done = run_here(home, *arguments)
    assert done.stderr.startswith(message)
    assert done.returncode == 2
    assert done.stdout == ""
    assert not (home / "out").exists()


def test_all_mistakes_of_a_space_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    space = make_project(tmp_path, SPACE.replace("keep: 0.5, ", "").replace("soft_labels]", "soft_label]"))
    space.write_text(space.read_text().replace("epochs: 2", "epochs: 0"))
    before = sorted(tmp_path.rglob("*"))
    done = run_process(tmp_path, "search", "space.yaml")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "space.yaml:15: there is no method 'soft_label'. Did you mean 'soft_labels'?",
        "space.yaml:16: finetune.epochs should be greater than or equal to 1. Got 0.",
    ]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_nothing_feasible_is_exit_code_3(tmp_path: Path) -> None:
    make_project(tmp_path, SPACE.replace("score >= 0.5 * baseline", "score >= 2 * baseline"))
    done = run_here(tmp_path, "search", "space.yaml", "--trials", "1")
    assert done.returncode == 3
    assert "What binds is score >= 2 * baseline" in done.stderr
    again = run_here(tmp_path, "resume", "space", "--trials", "1", "--json")
    found = json.loads(again.stdout)
    assert (again.returncode, found["front"], found["chosen"]) == (3, [], None)
    assert found["ended"] in again.stderr


def _started(folder: Path, until: Callable[[list[str]], bool]) -> subprocess.Popen[str]:
    """A search in a process of its own, once its output so far satisfies `until`."""
    command = [sys.executable, "-m", "autocompress", "search", "space.yaml"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(folder) | {"PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    seen: list[str] = []
    assert process.stdout
    for line in process.stdout:
        seen.append(line)
        if until(seen):
            return process
    raise AssertionError(f"it ended too early: {''.join(seen)} {process.stderr and process.stderr.read()}")


def _table(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run_here(folder, "trials", "space", "--json").stdout)
    return rows


def finished(number: int) -> Callable[[list[str]], bool]:
    return lambda seen: any(line.startswith(f"t{number:03d}") for line in seen)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_an_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path: Path, sign: signal.Signals) -> None:
    make_project(tmp_path)
    process = _started(tmp_path, finished(0))
    process.send_signal(sign)
    start = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert said.splitlines()[-1].strip() == "autocompress resume space"
    assert "Stopped. 1 trained trials are kept in studies/space" in said


def test_kill_9_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    make_project(tmp_path)
    process = _started(tmp_path, finished(1))
    process.kill()
    process.wait()
    before = [t for t in _table(tmp_path) if t["state"] != "running"]
    assert run_here(tmp_path, "resume", "space").returncode == 0
    after = _table(tmp_path)
    by_number = {t["number"]: t for t in after}
    for t in before:
        assert {**t, "front": None} == {**by_number[t["number"]], "front": None}
    assert [t["number"] for t in after] == sorted(by_number), "every number once"
    assert sum(t["state"] == "complete" for t in after if t["number"] >= 0) == 4
    assert not any(t["state"] == "running" for t in after)


@pytest.mark.parametrize("command", [f for functions in cli._COMMANDS.values() for f in functions])
def test_every_command_has_examples_that_it_takes(command: Callable[..., None]) -> None:
    name = command.__name__
    known = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    lines = EXAMPLES[name]
    assert all(f"autocompress {name} {line}".rstrip() in str(known.epilog) for line in lines)
    for line in lines:
        known.make_context(name, shlex.split(line.partition(">")[0]))  # it would raise for what it does not take


def test_a_shell_completes_the_names_of_studies(home: Path) -> None:
    asked = {"_AUTOCOMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": "autocompress trials s", "COMP_CWORD": "2"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in asked.items():
            patch.setenv(name, value)
        assert run_here(home).stdout.split() == ["space"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # no shell started this test
        shown = run_here(home, "--show-completion", "bash").stdout
    assert "complete -o default -F _autocompress_completion autocompress" in shown


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, autocompress, autocompress.cli; heavy = {'torch', 'transformers', 'optuna', 'mlflow', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
