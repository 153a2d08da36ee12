"""The `processes` executor with real processes: shared out, killed, hung, put aside."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from lives import workers_of
from pebble import ProcessFuture
from tiny_project import SPACE, make_project

from autocompress.engine.confirmation import REMAKE
from autocompress.engine.events import Observer
from autocompress.errors import ConfigError
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.artefacts import trial_key
from autocompress.trials.executors import worker as processes_worker
from autocompress.trials.executors.processes import ProcessExecutor, _Worker
from autocompress.trials.executors.worker import gpu_for
from autocompress.trials.job import Job, Result, StudyData
from autocompress.trials.perform import perform

LONG = SPACE.replace("finetune: {epochs: 2", "finetune: {epochs: 60")  # a second or two: time to strike


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_uri: str) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield make_project(tmp_path)
    work.loaded.cache_clear()


class Jobs(Observer):
    """Remembers which trials were trained, and how many at once."""

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.steps: dict[int, tuple[int, int]] = {}
        self.under_way, self.most = set[int](), 0

    def begin(self, job: Job) -> None:
        self.under_way.add(job.number)
        self.most = max(self.most, len(self.under_way))
        if job.kind == "train":
            self.trained.append(job.number)

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self.steps[job.number] = (step, steps)

    def finished(self, trial: object) -> None:
        self.under_way.discard(trial.number)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_two_workers_find_what_one_finds(project: Path) -> None:
    jobs = Jobs()
    study = Study.create(project)
    study.run(trials=4, observer=jobs, workers=2)
    assert study.charged() == 4 == len(set(jobs.trained)) == len(jobs.trained)
    assert jobs.most == 2, "trials at once"
    assert all(jobs.steps[number] == (8, 8) for number in jobs.trained), "the last step is always told of"
    assert not workers_of(os.getpid())
    best = study.best()
    for kind in REMAKE:
        again = perform(Job(kind, study.data, 900, best.recipe.dump()), lambda *_: None)
    assert again.measurement["score"] == best.measurement["score"]
    files = [study.folder / trial_key(n) / "artefact" / "model.onnx" for n in (best.number, 900)]
    assert files[0].read_bytes() == files[1].read_bytes()


class Saboteur(Jobs):
    """Strikes the only worker at the first step that a trial's training tells of.

    Only a training that it is going to suspend has a time limit: no other depends on how fast the machine is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strikes = 0
        self.suspended = False
        self.executor = ProcessExecutor(1, self.step)

    def begin(self, job: Job) -> None:
        super().begin(job)
        hangs = job.kind == "train" and self.trained.index(job.number) == 2
        self.executor._timeout = 3.0 if hangs else None
        self.executor._spent.clear()

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        if job.kind != "train" or step == steps:
            return
        nth = self.trained.index(job.number)
        if (nth == 0 and self.strikes == 0) or nth == 1:
            self.strikes += 1
            workers_of(os.getpid())[0].kill()
        elif nth == 2:
            workers_of(os.getpid())[0].suspend()
            self.suspended = True


@pytest.mark.slow
def test_a_killed_or_hung_worker_fails_its_own_trial_only(project: Path) -> None:
    project.write_text(LONG)
    study, jobs = Study.create(project), Saboteur()
    study.run(trials=4, observer=jobs, executor=jobs.executor)
    once, always, hung, spared = (study.trial(number) for number in jobs.trained)
    assert once.state == "complete", "tried once more"
    assert (always.state, always.reason) == ("failed", "the worker died (exit code -9): probably out of memory")
    assert jobs.strikes == 1 + 2
    assert (hung.state, hung.reason) == ("failed", "it was ended after 3 s, the limit of --trial-timeout")
    assert spared.state == "complete"
    assert not workers_of(os.getpid())


@pytest.mark.slow
def test_what_a_job_raises_on_purpose_arrives_and_a_worker_without_a_job_may_die(project: Path) -> None:
    project.write_text(SPACE.replace("sequence_length: 16", "sequence_length: 64"))
    job = Job("baseline", Study.create(project).data)
    executor, killed = ProcessExecutor(1, lambda *_: None), set[int]()
    promised = executor.submit(job)
    while len(killed) < 2:  # on their way to the job: a worker takes a second or two to start
        for worker in workers_of(os.getpid()):
            worker.kill()
            killed.add(worker.pid)
    with pytest.raises(ConfigError, match=r"target\.sequence_length: must be at most 32"):
        promised.result()
    workers_of(os.getpid())[0].kill()
    time.sleep(0.5)
    with pytest.raises(ConfigError, match=r"target\.sequence_length: must be at most 32"):
        executor.submit(job).result()
    executor.close()
    executor.close()
    assert not workers_of(os.getpid())


@pytest.mark.slow
def test_a_job_that_pebble_forgets_is_begun_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker dies idle while the job is being queued: nobody will ever say that the job ended."""
    project.write_text(SPACE.replace("sequence_length: 16", "sequence_length: 64"))
    executor = ProcessExecutor(1, lambda *_: None)
    [worker] = executor._all
    begin = worker.begin

    def begin_with_a_dead_worker(job: Job, limit: float | None) -> ProcessFuture:
        monkeypatch.setattr(worker, "begin", begin)
        worker.start()
        while worker.serves():
            [process.kill() for process in workers_of(os.getpid())]
        return ProcessFuture()

    monkeypatch.setattr(worker, "begin", begin_with_a_dead_worker)
    with pytest.raises(ConfigError, match=r"target\.sequence_length: must be at most 32"):
        executor.submit(Job("baseline", Study.create(project).data)).result(timeout=120)
    executor.close()


def test_a_module_of_a_stranger_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process has Python look into the working directory first, workers and what tidies up after them too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_Worker, "start", lambda worker: None)  # loading torch takes seconds
    for name in ("socket", "selectors", "pickle", "json"):
        Path(f"{name}.py").write_text(f"open('{name} was run', 'w')\n")
    before, executor = os.environ.get("PYTHONSAFEPATH"), ProcessExecutor(1, lambda *_: None)
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join(60)
    executor.close()
    assert process.exitcode == 0
    assert not list(tmp_path.glob("*was run"))
    assert os.environ.get("PYTHONSAFEPATH") == before


def test_workers_must_be_at_least_one(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"workers: must be at least 1, or auto\. Got 0\."):
        Study.create(project).run(workers=0)


def test_every_worker_has_a_gpu_of_those_that_are_visible() -> None:
    assert [gpu_for(index, 2, None) for index in range(3)] == ["0", "1", "0"]
    assert [gpu_for(index, 2, "5,7") for index in range(2)] == ["5", "7"]


@pytest.mark.slow
def test_a_worker_puts_its_training_aside_when_the_search_ends(project: Path) -> None:
    began, steps = threading.Event(), list[int]()
    executor = ProcessExecutor(1, lambda job, step, of, loss: began.set() if job.kind == "train" else None)
    study = Study.create(project)
    recipe = Recipe([find("finetune")(epochs=500, lr=1e-3)]).dump()
    executor.submit(Job("baseline", study.data)).result(timeout=120)
    training = executor.submit(Job("train", study.data, 0, recipe))
    assert began.wait(60)
    executor.close()
    with pytest.raises(CancelledError):
        training.result()
    note = json.loads((study.folder / "trials" / "000" / "aside" / "aside.json").read_text())
    job = Job("train", study.data, 0, recipe, deadline=0.0)
    assert not perform(job, lambda step, of, loss: steps.append(step)).trained
    assert steps == [note["step"] + 1]


def test_the_limit_of_a_trial_counts_all_of_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def begin(worker: _Worker, job: Job, limit: float | None) -> ProcessFuture[Result]:
        limits.append(limit)
        time.sleep(0.2)
        future: ProcessFuture[Result] = ProcessFuture()
        future.set_result(Result())
        return future

    monkeypatch.setattr(_Worker, "start", lambda worker: None)
    monkeypatch.setattr(_Worker, "serves", lambda worker: True)
    monkeypatch.setattr(_Worker, "begin", begin)
    executor = ProcessExecutor(1, lambda *_: None, trial_timeout=5)
    for kind, number in (("train", 3), ("train", 3), ("train", 4), ("replay", 3)):
        executor.submit(Job(kind, StudyData(), number)).result(timeout=10)
    executor.close()
    first, second, other, replay = limits
    assert first == other == replay == 5
    assert second is not None
    assert second <= 4.8


def test_what_a_worker_is_warned_of_is_a_warning_of_the_coordinator_and_a_step_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[int, int, float]] = []

    def begin(worker: _Worker, job: Job, limit: float | None) -> ProcessFuture[Result]:
        monkeypatch.setattr(processes_worker, "_line", worker._far_end)
        for _ in range(2):
            processes_worker._hand_on(UserWarning("this CPU is slow"), UserWarning, "a_file.py", 3)
        worker._far_end.send((1, 2, 0.5))
        future: ProcessFuture[Result] = ProcessFuture()
        future.set_result(Result())
        return future

    monkeypatch.setattr(_Worker, "start", lambda worker: None)
    monkeypatch.setattr(_Worker, "serves", lambda worker: True)
    monkeypatch.setattr(_Worker, "begin", begin)
    executor = ProcessExecutor(1, lambda job, step, of, loss: steps.append((step, of, loss)))
    with pytest.warns(UserWarning, match="this CPU is slow") as warned:
        executor.submit(Job("train", StudyData(), 3)).result(timeout=10)
    executor.close()
    assert len(warned) == 1, "though several workers say it"
    assert steps == [(1, 2, 0.5)]
