"""`kill -9` at every named point, of whoever passes it; then the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_project import SPACE

import autocompress
from autocompress import faults, trial
from autocompress.study import Study

# A search whose latency is computed, in a process of its own.
SEARCH = """
import sys
import autocompress
from autocompress import isolated, measure

ratios = {"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "latency_tail": 1.2, "latency_runs": 9.0}
measure.latency = lambda *a, **k: dict(ratios)
measure.absolute_latency = lambda *a, **k: 3.0
isolated.latency = lambda *a, **k: dict(ratios)
if __name__ == "__main__":
    autocompress.search("space.yaml", name="killed", workers=int(sys.argv[1]))
"""
THOROUGH = SPACE.replace(
    "trials: 4, variants: 0, confirm: {top: 0}", "trials: 3, rungs: watch, confirm: {top: 1, seeds: 2}"
)
TIMES = {"asked": 3, "told": 2, "logged": 3, "entry": 4, "evaluated": 2, "lowered": 2, "rehearsed": 2, "aside": 2}


def facts(study: Study) -> list[Any]:
    """What must not depend on whether a search was interrupted."""
    return [
        (t.number, t.state, t.recipe, t.measurement, t.violations, t.front, t.reason, t.variant_of, t.rungs)
        for t in study.trials
    ]


def killed(project: Path, point: str, workers: int = 1) -> subprocess.CompletedProcess[str]:
    """A search of which one process is killed at the point."""
    (project.parent / "search.py").write_text(SEARCH)
    mark = project.parent / "mark"
    environment = {faults.VARIABLE: f"{point}:{TIMES.get(point, 1)}:{mark}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "search.py", str(workers)], env=os.environ | environment, text=True, capture_output=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert mark.exists(), f"no process came to {point!r}: {ended.stderr}"
    return ended


@pytest.fixture
def expected(project: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The same search, not interrupted, with a cache of its own."""
    project.write_text(THOROUGH)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(project.parent / "undisturbed"))
    study = autocompress.search(project, name="whole")
    trial.workbench.cache_clear()
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(project.parent / "cache"))
    return study


@pytest.mark.parametrize("point", faults.POINTS)
def test_killed_anywhere_and_resumed_equals_uninterrupted(project: Path, expected: Study, point: str) -> None:
    assert killed(project, point).returncode == -signal.SIGKILL
    resumed = autocompress.search(project, name="killed")
    assert facts(resumed) == facts(expected)
    assert resumed.charged() == 3
    assert resumed.confirmed == expected.confirmed
    for member in expected.front:
        files = [trial.trial_folder(s.folder, member.number) / "artefact" / "model.onnx" for s in (expected, resumed)]
        assert files[0].read_bytes() == files[1].read_bytes()
    left = {f.name for f in (resumed.folder / "trials").iterdir()}
    assert left == {f"{t.number:03d}" for t in resumed.front}
    assert not list((resumed.folder / "trials").glob("*/.*")), "nothing half-written is left"
    runs = mlflow_runs(resumed)
    assert sorted(runs) == sorted(set(runs)), "no trial twice"
    assert "RUNNING" not in {status for _, status in runs}


def mlflow_runs(study: Study) -> list[tuple[str, str]]:
    """(trial, status) of the study's runs in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`autocompress.study_id` = '{study.record['id']}'", max_results=500)
    return [(r.data.tags.get("autocompress.trial", "study"), r.info.status) for r in found]


@pytest.mark.parametrize("point", ["aside", "entry", "lowered", "told"])
def test_with_three_workers_none_is_lost_and_none_trained_twice(project: Path, point: str) -> None:
    """`aside` to `lowered` kill a worker, whose job is tried once more; `told` kills the coordinator."""
    project.write_text(THOROUGH.replace("trials: 3", "trials: 5"))
    ended = killed(project, point, workers=3)
    assert (ended.returncode == -signal.SIGKILL) == (point == "told")
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(project.parent) in " ".join(p.info["cmdline"] or [])]
    study = autocompress.search(project, name="killed")
    assert study.charged() == 5
    assert {t.state for t in study.trials} <= {"complete", "refused", "duplicate"}
    charged = [t.recipe.key for t in study.trials if t.charged]
    assert len(set(charged)) == 5
    assert [t.number for t in study.trials] == list(range(len(study.trials)))
    assert "RUNNING" not in {status for _, status in mlflow_runs(study)}


def test_every_point_is_named_where_it_is_passed() -> None:
    sources = "".join(file.read_text() for file in Path(autocompress.__file__).parent.rglob("*.py"))
    assert all(f'faults.point("{name}")' in sources for name in faults.POINTS)
    assert sources.count("faults.point(") == len(faults.POINTS)
