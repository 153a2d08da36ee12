from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from autocompress.engine.scheduler import Life, drive
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job, Result, StudyData


class Threads(Executor):
    """Runs every job as `name -> name.upper()`, remembering how many ran at once."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.log: list[tuple[int, str]] = []
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, job: Job) -> Future[Result]:
        self.log.append((job.number, job.kind))
        return self._pool.submit(lambda: Result({"score": float(job.number)}))

    def close(self) -> None:
        self._pool.shutdown()


@pytest.mark.parametrize("workers", [1, 3])
def test_every_life_gets_its_own_results_in_order(workers: int) -> None:
    ended = {}

    def life(number: int) -> Life:
        first = yield Job("rehearse", StudyData(), number)
        if number % 2:
            return
        second = yield Job("train", StudyData(), number)
        ended[number] = (first.measurement["score"], second.measurement["score"])

    executor = Threads(workers)
    drive((life(n) for n in range(7)), executor)
    assert ended == {n: (n, n) for n in (0, 2, 4, 6)}
    assert sorted(executor.log) == sorted([(n, "rehearse") for n in range(7)] + [(n, "train") for n in (0, 2, 4, 6)])


def test_a_new_life_is_asked_for_only_when_a_worker_is_free() -> None:
    alive, most = [0], [0]

    def life() -> Life:
        yield Job("rehearse", StudyData())
        alive[0] -= 1

    def lives() -> Iterator[Life]:
        for _ in range(6):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield life()

    drive(lives(), Threads(2))
    assert alive == [0]
    assert most[0] <= 2 + 1, "two at work, and the one just asked for"


def test_an_executor_with_a_clock_of_its_own_says_when_jobs_end() -> None:
    """The longest job is begun first: its end is the last one, and nobody waits for it in real time."""

    class Clock(Executor):
        workers = 3
        now = 0.0

        def __init__(self) -> None:
            self._ends: dict[Future[Result], float] = {}

        def submit(self, job: Job) -> Future[Result]:
            future: Future[Result] = Future()
            self._ends[future] = self.now + 3600 * (10 - job.number)
            return future

        def wait(self, pending: Collection[Future[Result]]) -> set[Future[Result]]:
            first = min(pending, key=self._ends.__getitem__)
            self.now = self._ends[first]
            first.set_result(Result({"ended": self.now}))
            return {first}

        def close(self) -> None:
            """Nothing runs on."""

    order = []

    def life(number: int) -> Life:
        result = yield Job("train", StudyData(), number)
        order.append((number, result.measurement["ended"] / 3600))

    drive((life(n) for n in range(5)), Clock())
    assert order == [(2, 8), (1, 9), (0, 10), (3, 15), (4, 15)]


def test_what_an_executor_raises_reaches_the_caller() -> None:
    class Broken(Threads):
        def submit(self, job: Job) -> Future[Result]:
            future: Future[Result] = Future()
            future.set_exception(OSError("the node is gone"))
            return future

    def life() -> Life:
        yield Job("rehearse", StudyData())

    with pytest.raises(OSError, match="the node is gone"):
        drive(iter([life()]), Broken(1))


def test_a_life_waits_for_another_and_goes_on_if_that_comes_to_nothing() -> None:
    said: list[str] = []
    under_way = {0}

    def first() -> Life:
        yield Job("train", StudyData(), 0)
        under_way.clear()
        said.append("the first has ended")

    def second() -> Life:
        while under_way:
            yield None
        yield Job("train", StudyData(), 1)
        said.append("the second has ended")

    executor = Threads(2)
    drive(iter([first(), second()]), executor)
    assert said == ["the first has ended", "the second has ended"]
    assert executor.log == [(0, "train"), (1, "train")]


def test_lives_that_wait_for_nobody_do_not_hold_up_the_end() -> None:
    def life() -> Life:
        while True:
            yield None

    drive(iter([life()]), Threads(2))
