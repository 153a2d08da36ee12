"""Where jobs run. An executor gets a job and promises a result; the study knows nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent import futures
from concurrent.futures import Future
from typing import Protocol

from autocompress.trials.job import Job, Result

OnStep = Callable[[Job, int, int, float], None]  # (job, step, of how many, loss)


class Executor(Protocol):
    """`workers` jobs at a time, in this process, in others, or on other machines.

    An executor inherits from this class, so that what most have in common is written once.
    """

    workers: int

    def submit(self, job: Job) -> Future[Result]:
        """Begin the job. The future holds its result, or what the job raised on purpose."""

    def wait(self, pending: Collection[Future[Result]]) -> set[Future[Result]]:
        """Until at least one of these has ended; those that have. A simulated executor moves its own clock on here."""
        return futures.wait(pending, return_when=futures.FIRST_COMPLETED).done

    def close(self) -> None:
        """Stop every worker, in the middle of its job if need be. Closing twice does no harm."""
