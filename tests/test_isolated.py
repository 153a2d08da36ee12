"""Latency in a process of its own: that it is one, that it has loaded nothing else, and what a crash costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import tiny, toy
from mlflow import MlflowClient
from tiny_project import SPACE

import autocompress
from autocompress.engine.events import Observer
from autocompress.engine.trial import Trial
from autocompress.errors import Unmeasured
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import isolated
from autocompress.runtimes.latency import latency_batch
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.goals import Measurement
from autocompress.space.settings import Target
from autocompress.trials import artefacts
from autocompress.trials.job import Job

TARGET = Target(batch_size=2, sequence_length=12)
BATCH = latency_batch(toy(), TARGET)
SPY = """
import json, os, sys
from autocompress.runtimes import isolated

def tell(runtime, folders, batch, target):
    logits = runtime.open(folders[0], target).run(batch)
    loaded = {"torch", "transformers", "onnx", "optuna", "mlflow", "datasets"} & set(sys.modules)
    return {"loaded": sorted(loaded), "process": os.getpid(), "rows": len(logits), "named": sorted(batch)}

isolated.answer(tell)
"""


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefact")
    find_runtime("onnxruntime").lower(tiny(), PrecisionPlan(), BATCH, folder)
    return folder


def test_the_process_is_fresh_and_has_loaded_the_runtime_only(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spy.py").write_text(SPY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seen = isolated.ask("spy", "what is loaded", [artefact], BATCH, TARGET)
    again = isolated.ask("spy", "what is loaded", [artefact], BATCH, TARGET)
    assert seen["loaded"] == []
    assert seen["process"] != again["process"]
    assert (seen["rows"], seen["named"]) == (2, ["attention_mask", "input_ids"])


def test_a_module_of_a_stranger_in_the_working_directory_is_not_run(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "signal", "numpy", "onnxruntime", "autocompress"):
        (tmp_path / f"{name}.py").write_text(f"open('{name} was run', 'w')\nraise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    assert 0 < isolated.absolute_latency(artefact, BATCH, TARGET) < 1000
    assert not list(tmp_path.glob("*was run"))


def test_two_artefacts_give_a_ratio_and_one_its_milliseconds(artefact: Path) -> None:
    found = isolated.latency(artefact, artefact, BATCH, TARGET)
    assert found["speedup_low"] < found["speedup"] < found["speedup_high"]
    assert 0.5 < found["speedup"] < 2
    assert 0 < isolated.absolute_latency(artefact, BATCH, TARGET) < 1000


@pytest.mark.slow
def test_torch_is_measured_in_a_process_of_its_own_too(tmp_path: Path) -> None:
    target = Target(runtime="torch", batch_size=2, sequence_length=12)
    find_runtime("torch").lower(tiny(), PrecisionPlan(), BATCH, tmp_path)
    assert 0 < isolated.absolute_latency(tmp_path, BATCH, target) < 1000


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process died of SIGSEGV"),
        ("raise ValueError('no such kernel')", "ValueError: no such kernel"),
        ("os._exit(3)", "no output"),
    ],
)
def test_a_crash_is_one_sentence(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, says: str
) -> None:
    (tmp_path / "crash.py").write_text(f"import os, signal\n{does}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Unmeasured) as caught:
        isolated.ask("crash", "latency", [artefact], BATCH, TARGET)
    assert str(caught.value) == f"latency could not be measured: {says}"


def test_a_hung_process_is_ended(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hang.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(isolated, "_PATIENCE", 1.0)
    with pytest.raises(Unmeasured, match=r"^latency could not be measured: it took more than 1 s$"):
        isolated.ask("hang", "latency", [artefact], BATCH, TARGET)


def test_a_killed_one_is_out_of_memory(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MemoryError, match="was killed: it is out of memory"):
        isolated.ask("killed", "latency", [artefact], BATCH, TARGET)


class Listening(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.again: list[int] = []
        self.kinds: list[str] = []

    def begin(self, job: Job) -> None:
        self.kinds.append(job.kind)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def remeasured(self, trial: Trial, measurement: Measurement) -> None:
        self.again.append(trial.number)


CONFIRMING = SPACE.replace("confirm: {top: 0}", "confirm: {top: 2, seeds: 2}, rule: fastest")


@pytest.mark.slow
def test_finalists_are_measured_again_before_the_winner_is_chosen(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one whose latency was a stroke of luck does not win; what ships says what was measured last."""
    project.write_text(CONFIRMING)
    asked: list[Path] = []

    def slower_and_slower(candidate: Path, baseline: Path, *more: object) -> dict[str, float]:
        asked.append(candidate)
        speedup = 1.4 - 0.1 * len(asked)
        return {"speedup": speedup, "speedup_low": speedup, "speedup_high": speedup, "latency_tail": 1.1}

    monkeypatch.setattr(isolated, "latency", slower_and_slower)
    heard = Listening()
    study = autocompress.search(project, observer=heard)
    assert len(heard.again) == len(asked) == len(study.confirmed) >= 1
    assert heard.kinds.index("remeasure") > max(i for i, kind in enumerate(heard.kinds) if kind == "rehearse")
    first = heard.again[0]
    assert study.best().number == first, "it lost least"
    assert artefacts.remeasured(study.artefacts, first)["latency_ms"] == pytest.approx(3.0 / 1.3)
    assert study.trial(first).measurement["latency_ms"] == 2.0, "the search's own figure stays"
    uri, run = study.run_of(study.trial(first))
    metrics = MlflowClient(uri).get_run(run).data.metrics
    assert (metrics["latency_ms"], metrics["isolated/latency_ms"]) == (2.0, pytest.approx(3.0 / 1.3, rel=1e-5))
    autocompress.search(project, observer=heard)
    measured = json.loads((study.export("out") / "measurement.json").read_text())
    assert measured["isolated"] is True
    assert measured["trial"]["latency_ms"] == pytest.approx(3.0 / 1.3)
    assert "in a process of its own" in (Path("out") / "README.md").read_text()
    assert len(asked) == len(heard.again), "once"


@pytest.mark.slow
def test_a_crash_costs_that_measurement_only(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write_text(CONFIRMING)

    def crash(*args: object) -> dict[str, float]:
        raise Unmeasured("latency could not be measured: its process died of SIGSEGV")

    monkeypatch.setattr(isolated, "latency", crash)
    heard = Listening()
    study = autocompress.search(project, observer=heard)
    best = study.best()
    told = f"{best.label} keeps the latency that the search measured: latency could not be measured: "
    assert f"{told}its process died of SIGSEGV" in heard.notes
    with pytest.warns(UserWarning, match="keeps the latency that the search measured"):
        measured = json.loads((study.export("out") / "measurement.json").read_text())
    assert measured["isolated"] is False
    assert measured["trial"]["latency_ms"] == best.measurement["latency_ms"]
