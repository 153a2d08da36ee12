"""Searches with workers that are interrupted or killed: nothing is left behind, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from lives import workers_of
from tiny_project import SPACE

from autocompress.engine.events import Observer
from autocompress.study import Study
from autocompress.trials.job import Job

pytestmark = pytest.mark.slow

LONG = SPACE.replace("finetune: {epochs: 2", "finetune: {epochs: 60")  # a second or two: time to strike


class Trained(Observer):
    """Remembers which trials were trained."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def begin(self, job: Job) -> None:
        if job.kind == "train":
            self.numbers.append(job.number)


def _started(arguments: list[str], until: Callable[[str], bool]) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A search in a session of its own, once a line of its output satisfies `until`; and its workers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autocompress", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if until(line):
            return process, workers_of(process.pid)
    raise AssertionError(f"it ended too early: {process.stderr and process.stderr.read()}")


def test_nothing_is_left_behind_by_ctrl_c_or_kill_9_and_the_budget_is_met_exactly(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (home / "space.yaml").write_text(LONG)
    process, workers = _started(["search", "space.yaml", "--workers", "2"], lambda line: line.startswith("baseline"))
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    start = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - start < 5, "it waits neither for trials nor for patience to end"
    assert process.returncode == 130
    assert said.splitlines()[-1].strip() == "autocompress resume space --workers 2"
    assert "Traceback" not in said
    assert not psutil.wait_procs(workers, timeout=0)[1]

    process, workers = _started(["resume", "space", "--workers", "2"], lambda line: line.startswith("t0"))
    process.kill()
    assert not psutil.wait_procs(workers, timeout=5)[1]
    process.communicate()

    study, jobs = Study.open("space"), Trained()
    before = {t.number for t in study.trials if t.state != "running"}
    study.run(observer=jobs, workers=2)
    assert study.charged() == 4
    assert not before & set(jobs.numbers)
    assert not [t for t in study.trials if t.state == "running"]
