"""One job at a time in this very process: for tests, debugging and one worker."""

from __future__ import annotations

from concurrent.futures import Future

from autocompress.machine import interrupts
from autocompress.trials.executors.executor import Executor, OnStep
from autocompress.trials.job import Job, Result


class InlineExecutor(Executor):
    """`submit` returns when the job is done."""

    workers = 1

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def submit(self, job: Job) -> Future[Result]:
        from autocompress.trials.perform import perform  # loads torch

        def tell(step: int, steps: int, loss: float) -> None:
            interrupts.check()
            self._on_step(job, step, steps, loss)

        future: Future[Result] = Future()
        future.set_result(perform(job, tell))
        interrupts.check()  # it may have been taken for the job's failure
        return future

    def close(self) -> None:
        """Nothing runs on."""
