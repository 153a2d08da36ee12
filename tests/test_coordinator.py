"""The coordinator with several workers: threads stand for them, and a recipe's fate is drawn by its key."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tiny_project import SPACE, make_project

from autocompress.engine.budget import Budget
from autocompress.engine.coordinator import Coordinator
from autocompress.engine.events import Observer
from autocompress.engine.optuna.store import Store
from autocompress.engine.scheduler import drive
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.errors import Paused
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Failure, Job, Result, StudyData

BASELINE = {"score": 0.9, "latency_ms": 2.0, "size_mb": 2.0}


class Workers(Executor):
    """Pretends to work: some recipes are too large, some fail, and each job takes its own time."""

    def __init__(self, workers: int, size_mb: tuple[float, ...] = (1.0, 1.0, 9.0), failing: float = 0.1) -> None:
        self.workers = workers
        self._sizes, self._failing = size_mb, failing
        self.jobs: list[Job] = []
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, job: Job) -> Future[Result]:
        self.jobs.append(job)
        return self._pool.submit(self._work, job)

    def _work(self, job: Job) -> Result:
        rng = random.Random(Recipe.load(job.recipe).key)
        time.sleep(random.uniform(0, 0.01))
        size, broken = rng.choice(self._sizes), rng.random() < self._failing
        if job.kind == "train":
            return Result(failure=Failure("out of memory", expected=True)) if broken else Result()
        return Result({"score": 0.9, "latency_ms": 1.0, "size_mb": size})

    def close(self) -> None:
        self._pool.shutdown()


STEPS = """
  - one_of: [skip, layers: {keep: 0.5, strategy: [top, alternate]}, neurons: {keep: 0.5, multiple: 8, importance: l2}]
  - finetune: {epochs: [1, 2], lr: [1e-3, 1e-2], batch_size: 32, freeze_embeddings: false}
"""


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    """Few recipes: with three workers, the same one is drawn again and again while it is being trained."""
    found = SearchSpace.load(make_project(tmp_path, SPACE.split("anchors:")[0] + "steps:" + STEPS))
    assert found.size
    assert found.size <= 32
    return found


def coordinate(folder: Path, space: SearchSpace, executor: Workers, budget: int) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    store = Store(folder / "study.db", space.objectives, space.search)
    coordinator = Coordinator(StudyData(artefacts=str(folder)), space, store, BASELINE, Observer(), lambda *_: None)
    drive(coordinator.lives(Budget(budget)), executor)
    return store.trials()


def test_the_budget_is_met_exactly_and_no_recipe_is_trained_twice(tmp_path: Path, space: SearchSpace) -> None:
    for budget in (1, 4, 7, 9):  # the same study goes on
        executor = Workers(3)
        trials = coordinate(tmp_path, space, executor, budget)
        trained = Counter(str(job.recipe) for job in executor.jobs if job.kind == "train")
        assert sum(t.charged for t in trials) == budget
        assert set(trained.values()) == {1}
    assert not [t for t in trials if t.state == "running"]
    assert {"complete", "refused", "duplicate"} <= {t.state for t in trials}


def test_repeats_do_not_outgrow_the_trials(tmp_path: Path) -> None:
    """Where the best was tried a sampler repeats itself ever more often, and every repeat is written down."""
    steps = """
  - layers: {keep: [0.3, 0.5, 0.7, 0.9], strategy: [top, alternate]}
  - finetune: {epochs: [1, 2, 3, 4], lr: [1e-3, 1e-2], batch_size: 32, freeze_embeddings: false}
"""
    space = SearchSpace.load(make_project(tmp_path, SPACE.split("anchors:")[0] + "steps:" + steps))
    store = Store(None, space.objectives, space.search, space.points())
    study, executor = StudyData(artefacts=str(tmp_path)), Workers(1, size_mb=(1.0,), failing=0)
    coordinator = Coordinator(study, space, store, BASELINE, Observer(), lambda *_: None)
    drive(coordinator.lives(Budget(50)), executor)
    states = Counter(t.state for t in store.trials())
    assert states["complete"] == 50
    assert states["duplicate"] <= 50 + 5


def test_a_repeat_of_a_trial_under_way_is_answered_when_that_one_ends(tmp_path: Path, space: SearchSpace) -> None:
    trials = coordinate(tmp_path, space, Workers(3, failing=0), 9)
    by_number = {t.number: t for t in trials}
    repeats = [t for t in trials if t.state == "duplicate"]
    assert repeats
    for t in repeats:
        first = by_number[t.duplicate_of]
        assert first.recipe == t.recipe
        assert first.state != "duplicate"
        assert (t.violations, t.reason) == (first.violations, f"the same recipe as t{first.number:03d}")
        assert t.measurement == (first.measurement if first.state == "complete" else {})


def test_a_pause_leaves_those_under_way_to_be_resumed(tmp_path: Path, space: SearchSpace) -> None:
    class Full(Workers):
        def _work(self, job: Job) -> Result:
            if job.kind == "train" and sum(j.kind == "train" for j in self.jobs) > 3:
                raise Paused("the disk is full")
            return super()._work(job)

    with pytest.raises(Paused):
        coordinate(tmp_path, space, Full(3), 8)
    left = [t.number for t in Store(tmp_path / "study.db", space.objectives, space.search).trials()
            if t.state == "running"]  # fmt: skip
    assert left
    executor = Workers(3)
    trials = coordinate(tmp_path, space, executor, 8)
    assert sum(t.charged for t in trials) == 8
    assert {j.number for j in executor.jobs} >= {n for n in left if trials[n].state != "duplicate"}
    assert not [t for t in trials if t.state == "running"]


def test_limits_that_cannot_be_met_end_the_search_with_several_workers_too(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.engine.budget._MOST_REFUSED", 6)
    executor = Workers(3, size_mb=(9.0,))
    trials = coordinate(tmp_path, space, executor, 9)
    assert {t.state for t in trials} <= {"refused", "duplicate"}
    assert len(executor.jobs) <= 6 + 2, "those already under way, and no more"
    assert {job.kind for job in executor.jobs} == {"rehearse"}


ALIKE = """
  - finetune: {epochs: [1, 2], lr: 1e-2, freeze_embeddings: false}
  - one_of: [skip, int8_dynamic, half]
"""


class Watched(Workers):
    """Where no two trials may train the same at once."""

    at_once: tuple[str, ...] = ()
    cut = False

    def _work(self, job: Job) -> Result:
        if job.kind != "train":
            return super()._work(job)
        key = Recipe.load(job.recipe).trained.key
        assert key not in self.at_once
        self.at_once += (key,)
        time.sleep(0.05)
        if self.cut:
            raise Paused("the disk is full")
        done = super()._work(job)
        self.at_once = tuple(k for k in self.at_once if k != key)
        return done

    @property
    def trained(self) -> Counter[str]:
        return Counter(Recipe.load(job.recipe).trained.key for job in self.jobs if job.kind == "train")


@pytest.mark.parametrize("failing", [0.0, 0.5])
def test_no_two_trials_train_the_same_at_once(tmp_path: Path, failing: float) -> None:
    """The second waits: it has nothing left to train then, or its own turn where the first came to nothing."""
    space = SearchSpace.load(make_project(tmp_path, SPACE.split("anchors:")[0] + "steps:" + ALIKE))
    executor = Watched(4, size_mb=(1.0,), failing=failing)
    trials = coordinate(tmp_path, space, executor, 6)
    assert not [t for t in trials if t.state == "running"]
    if not failing:
        assert set(executor.trained.values()) == {1}
        assert sum(t.charged for t in trials) == 2
        assert sum(t.state == "complete" for t in trials) > 2


def test_what_is_predicted_decides_and_is_never_taken_for_measured(tmp_path: Path, space: SearchSpace) -> None:
    class Foretelling(Workers):
        def _work(self, job: Job) -> Result:
            told = super()._work(job)
            if job.kind != "rehearse":
                return told
            size = told.measurement["size_mb"]
            return Result(predicted={"size_mb": size, "size_mb_low": 0.99 * size, "size_mb_high": 1.01 * size})

    trials = coordinate(tmp_path, space, Foretelling(3, failing=0), 4)
    refused = [t for t in trials if t.state == "refused" and t.predicted]
    assert refused
    for t in refused:
        assert t.reason == "size_mb <= 0.95 * baseline: predicted 8.91 to 9.09, the limit is 1.9"
        assert t.violations == {"size_mb <= 0.95 * baseline": pytest.approx(9 / 1.9 - 1)}
        assert (t.measurement, t.at_best, t.likeliest) == ({}, {"size_mb": pytest.approx(8.91)}, {"size_mb": 9.0})
        assert t.row()["size_mb"] is None
    trained = [t for t in trials if t.state == "complete"]
    assert len(trained) == 4
    assert all(t.measurement["size_mb"] == 1.0 and t.feasible and t.predicted["size_mb_high"] == 1.01 for t in trained)


def test_those_that_waited_when_a_search_was_cut_off_go_on(tmp_path: Path) -> None:
    space = SearchSpace.load(make_project(tmp_path, SPACE.split("anchors:")[0] + "steps:" + ALIKE))
    first = Watched(4, size_mb=(1.0,), failing=0)
    first.cut = True
    with pytest.raises(Paused):
        coordinate(tmp_path, space, first, 6)
    known = Store(tmp_path / "study.db", space.objectives, space.search).trials()
    assert sum(t.state == "running" for t in known) > sum(first.trained.values()), "some waited for others"
    executor = Watched(4, size_mb=(1.0,), failing=0)
    trials = coordinate(tmp_path, space, executor, 6)
    assert not [t for t in trials if t.state == "running"]
    assert set(executor.trained.values()) == {1}


@pytest.mark.slow
def test_a_training_that_diverged_takes_its_look_alikes_with_it(tmp_path: Path, space: SearchSpace) -> None:
    class Diverging(Workers):
        def _work(self, job: Job) -> Result:
            if job.kind == "train":
                key = Recipe.load(job.recipe).trained.key
                return Result(failure=Failure("finetune: the loss is nan", expected=True, diverged=key))
            return Result({"score": 0.9, "latency_ms": 1.0, "size_mb": 1.0})

    steps = "\n  - finetune: {epochs: [1, 2], lr: 1e-3, batch_size: 32}\n  - one_of: [skip, int8_dynamic, half]\n"
    (tmp_path / "space.yaml").write_text(SPACE.split("anchors:")[0] + "steps:" + steps)
    executor = Diverging(1)
    trials = coordinate(tmp_path, SearchSpace.load(tmp_path / "space.yaml"), executor, 9)
    failed = {t.recipe.trained: t for t in trials if t.state == "failed"}
    refused = [t for t in trials if t.state == "refused"]
    assert len(failed) == 2, "one of each training"
    assert refused
    for t in refused:
        first = failed[t.recipe.trained]
        assert t.reason == f"it is trained like t{first.number:03d}, which failed: finetune: the loss is nan"
    assert not {job.number for job in executor.jobs} & {t.number for t in refused}, "not even rehearsed"


def test_a_search_that_finds_nothing_new_to_train_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(Workers):
        def _work(self, job: Job) -> Result:
            if job.recipe[0].get("layers"):
                return Result(failure=Failure("layers knows no such model", expected=True))
            return Result({"score": 0.9, "latency_ms": 1.0, "size_mb": 1.0})

    make_project(tmp_path)
    steps = "\n  - one_of: [skip, layers]\n  - finetune: {epochs: 1, lr: 1e-3}\n  - one_of: [skip, int8_dynamic]\n"
    (tmp_path / "space.yaml").write_text(SPACE.split("anchors:")[0] + "steps:" + steps)
    monkeypatch.setattr("autocompress.engine.budget._MOST_IDLE", 15)
    space = SearchSpace.load(tmp_path / "space.yaml")
    assert space.size is None, "layers.keep is a range: it is never exhausted"
    trials = coordinate(tmp_path, space, Picky(1), 3)
    assert {t.state for t in trials} == {"complete", "refused", "duplicate"}
    assert len(trials) <= 2 + 15 + 2


def test_a_trial_that_ends_is_no_reason_to_look_at_all_of_them(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: Counter[str] = Counter()
    for name in ("__iter__", "marked"):
        real = getattr(TrialTable, name)

        def counted(self: TrialTable, real: Any = real, name: str = name) -> Any:
            looks[name] += 1
            return real(self)

        monkeypatch.setattr(TrialTable, name, counted)
    some = coordinate(tmp_path / "a", space, Workers(1), 2)
    few = dict(looks)
    many = coordinate(tmp_path / "b", space, Workers(1), 8)
    assert len(many) > 2 * len(some)
    assert looks == {name: 2 * count for name, count in few.items()}, "at the beginning only, however many there are"
