"""A search without training: an executor with a clock of its own, for problems that know what every job would give."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from typing import NamedTuple, Protocol

from autocompress.space.goals import Measurement
from autocompress.space.rungs import share_name
from autocompress.space.search_space import SearchSpace
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job, Result


class Answer(NamedTuple):
    """What a job gives and takes."""

    measurement: Measurement
    seconds: float  # of a training: from its beginning up to the job's share
    rung: float | None = None  # the score at that share


class Problem(Protocol):
    """Something to search in."""

    baseline: Measurement
    trials: int  # a search's budget

    def space(self, **search: object) -> SearchSpace:
        """The space, with these search settings."""

    def answer(self, job: Job) -> Answer:
        """What a rehearsal, a training up to its share, or an evaluation gives."""

    def volume(self, measurements: list[Measurement]) -> float:
        """The feasible hypervolume."""

    def best(self) -> float:
        """That of the true front."""


class Simulation(Executor):
    """`workers` at a time, on a virtual clock. Without `screening` a rehearsal tells nothing and takes no time."""

    def __init__(self, problem: Problem, workers: int = 1, *, screening: bool = True) -> None:
        self.workers, self.now = workers, 0.0
        self._problem, self._screening = problem, screening
        self._spent: dict[int, float] = {}  # seconds of training so far, by trial
        self._rungs: dict[int, dict[str, float]] = {}
        self._order = count()
        self._ends: list[tuple[float, int, Future[Result], Result]] = []

    def clock(self) -> float:
        return self.now

    def submit(self, job: Job) -> Future[Result]:
        """Its end is noted; `wait` moves the clock there."""
        answer, future = self._problem.answer(job), Future[Result]()
        seconds, result = answer.seconds, Result(answer.measurement)
        if job.kind == "rehearse" and not self._screening:
            seconds, result = 0.0, Result()
        elif job.kind == "train":
            seconds -= self._spent.get(job.number, 0.0)
            self._spent[job.number] = answer.seconds
            rungs = self._rungs.setdefault(job.number, {})
            if job.share < 1 and answer.rung is not None:
                rungs[share_name(job.share)] = answer.rung
            # who does not screen learns of size and latency while it trains
            cheap = {} if self._screening else self._problem.answer(replace(job, kind="rehearse")).measurement
            result = Result(cheap, {"train": seconds}, rungs=dict(rungs), trained=job.share == 1)
        heapq.heappush(self._ends, (self.now + seconds, next(self._order), future, result))
        return future

    def wait(self, pending: Collection[Future[Result]]) -> set[Future[Result]]:
        self.now, _, future, result = heapq.heappop(self._ends)
        future.set_result(result)
        return {future}

    def close(self) -> None:
        """Nothing runs on."""
