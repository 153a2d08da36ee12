"""Keep an executor busy with the lives of trials.

A life is a generator: it yields the jobs a trial needs, one after the other, and is sent each job's result. Between two
jobs it decides, in the coordinator, what becomes of the trial. So the order of things within a trial reads like a
script, and several trials run at once. A life that yields None waits for another one: it is asked again when a job has
ended.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from dataclasses import replace

from autocompress.machine import interrupts
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job, Result

Life = Generator[Job | None, Result, None]


def drive(lives: Iterator[Life | None], executor: Executor, deadline: float = math.inf) -> None:
    """Run the lives to their ends, as many at once as there are workers; a new one only when a worker is free.

    None among the lives means "not now": they are asked again when the next job has ended. `deadline`: when trainings
    are put aside, in seconds since 1970.
    """
    waiting: dict[Future[Result], Life] = {}
    held: list[Life] = []
    while True:
        interrupts.check()
        for _ in range(len(held)):
            if len(waiting) < executor.workers:
                _submit(held.pop(0), None, executor, waiting, held, deadline)
        while len(waiting) < executor.workers and (life := next(lives, None)) is not None:
            _submit(life, None, executor, waiting, held, deadline)
        if not waiting:
            return
        ended = executor.wait(waiting)
        for future in [f for f in waiting if f in ended]:  # in the order of their beginnings
            _submit(waiting.pop(future), future.result(), executor, waiting, held, deadline)


def _submit(
    life: Life, result: Result | None, executor: Executor, waiting: dict[Future[Result], Life], held: list[Life],
    deadline: float,
) -> None:  # fmt: skip
    """Hand the life its result and its next job to the executor, unless the life ends or is held here."""
    try:
        job = next(life) if result is None else life.send(result)
    except StopIteration:
        return
    if job is None:
        held.append(life)
    else:
        waiting[executor.submit(replace(job, deadline=deadline))] = life
