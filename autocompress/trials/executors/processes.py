"""Several jobs at a time on this machine: worker processes, each with its share of the threads; and of GPUs, one each.

Every worker is a pebble pool of one. In a pool of several, workers share a channel and its locks, which a killed one
may leave locked, and nobody knows which of the GPUs a replacement should take. A line joins each worker to the
coordinator: training steps come up, and when it breaks, because the coordinator closed it or was killed, the worker
ends itself at once, whatever it is doing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import defaultdict
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from queue import SimpleQueue

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from autocompress.errors import Paused
from autocompress.trials.executors.executor import Executor, OnStep
from autocompress.trials.executors.worker import settle, work
from autocompress.trials.job import BASELINE, Failure, Job, Result

_SAFE_PATH = "PYTHONSAFEPATH"  # else a new worker would run a `socket.py` that lies in the working directory
_START = "spawn"  # a forked torch hangs
_TICK = 0.02  # seconds between two looks at whether a job is done
_PATIENCE = 30.0  # seconds for one step and for putting its training aside, where the search ends
_DEATHS, _MISSED = 2, 3  # of a job's workers: at the job, before they came to it
_NO_START = (
    "the worker processes do not start: see above for what they say. A script that searches with several "
    'workers must do so under `if __name__ == "__main__":`, because each worker imports it.'
)


class ProcessExecutor(Executor):
    """`workers` jobs at a time. A job whose worker dies is tried once more. A trial fails once its jobs took
    `trial_timeout` seconds together.

    `on_step` is called from other threads than the one that submits.
    """

    def __init__(self, workers: int, on_step: OnStep, trial_timeout: float | None = None) -> None:
        self.workers = workers
        self._on_step = on_step
        self._timeout = trial_timeout
        self._safe_path = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        self._all = [_Worker(index, workers) for index in range(workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._warned: set[str] = set()
        self._spent: defaultdict[tuple[int, int, bool], float] = defaultdict(float)  # a trial's -> seconds of its jobs
        self._ending, self._closing = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(workers, "autocompress-job", initializer=_block_interrupts)
        for worker in self._all:
            self._threads.submit(worker.start)

    def submit(self, job: Job) -> Future[Result]:
        """Give the job to a worker that has nothing to do, once there is one."""
        return self._threads.submit(self._perform, job)

    def close(self) -> None:
        """Have trainings put aside, then end every worker, whatever it is doing."""
        try:
            self._put_aside()
        finally:
            self._end()

    def _put_aside(self) -> None:
        self._ending.set()
        training = [worker for worker in self._all if worker.trains]
        for worker in training:
            with suppress(OSError):
                worker.line.send("stop")
        deadline = time.monotonic() + _PATIENCE
        while any(worker.trains for worker in training) and time.monotonic() < deadline:
            time.sleep(_TICK)

    def _end(self) -> None:
        self._closing.set()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.stop()
        for worker in self._all:
            worker.join()
        os.environ.pop(_SAFE_PATH, None)
        if self._safe_path is not None:
            os.environ[_SAFE_PATH] = self._safe_path

    def _perform(self, job: Job) -> Result:
        """A second death at the job is the recipe's fault. A worker that dies on its way to it never saw the recipe."""
        worker = self._idle.get()
        deaths = missed = 0
        try:
            while True:
                try:
                    return self._attempt(worker, job)
                except ProcessExpired as death:
                    if self._ending.is_set():
                        raise CancelledError from death
                    deaths += 1
                    if deaths == _DEATHS:
                        return Result(failure=Failure(_epitaph(death.exitcode), expected=True))
                except BrokenProcessPool as error:
                    missed += 1
                    if missed == _MISSED:
                        raise Paused(_NO_START) from error
        finally:
            self._idle.put(worker)

    def _attempt(self, worker: _Worker, job: Job) -> Result:
        """Have the job done, handing on its steps."""
        trial, began = (job.number, job.repeat, job.kind == "replay"), time.monotonic()  # a replay is another trial
        limit = self._timeout if job.number != BASELINE else None
        future = worker.begin(job, limit and max(limit - self._spent[trial], _TICK))
        try:
            while True:
                if self._closing.is_set():
                    raise CancelledError
                served = worker.serves()
                if worker.line.poll(_TICK):
                    self._hear(worker, job)
                elif future.done():
                    return future.result()
                elif not served:
                    raise BrokenProcessPool
        except TimeoutError:
            return Result(
                failure=Failure(f"it was ended after {limit:g} s, the limit of --trial-timeout", True, limited=True)
            )
        finally:
            worker.trains = False
            self._spent[trial] += time.monotonic() - began
            future.cancel()  # ends the worker, if something was raised while the job goes on

    def _hear(self, worker: _Worker, job: Job) -> None:
        """A step of the training, or what the worker was warned of."""
        told = worker.line.recv()
        if isinstance(told, str):
            if told not in self._warned:  # every worker says it
                self._warned.add(told)
                warnings.warn(told, stacklevel=1)
            return
        step, steps, loss = told
        worker.trains = step < steps
        self._on_step(job, step, steps, loss)


class _Worker:
    """A process and, when it dies, the one in its place."""

    def __init__(self, index: int, count: int) -> None:
        self.trains = False  # and has told of a step
        self._context = multiprocessing.get_context(_START)
        self.line, self._far_end = self._context.Pipe()
        self._share = (index, count, self._far_end)
        self._pool = self._fresh_pool()

    def _fresh_pool(self) -> ProcessPool:
        return ProcessPool(1, initializer=settle, initargs=self._share, context=self._context)

    def start(self) -> None:
        """Have the process running; it takes seconds until it has loaded torch."""
        if not self.serves():  # asking starts it; pebble gives up a pool whose only worker died idle
            self._pool.stop()
            self._pool.join()
            self._pool = self._fresh_pool()

    def begin(self, job: Job, limit: float | None) -> ProcessFuture[Result]:
        """Have the job done in the process."""
        self.start()
        return self._pool.schedule(work, args=(job,), timeout=limit)

    def serves(self) -> bool:
        """False once pebble has given the pool up. It forgets a job that is just then on its way to a worker."""
        active: bool = self._pool.active
        return active

    def stop(self) -> None:
        """Tell it to end."""
        self._pool.stop()
        self.line.close()

    def join(self) -> None:
        """Wait for its end."""
        self._pool.join()
        self._far_end.close()


def _epitaph(exitcode: int) -> str:
    reason = ": probably out of memory" if exitcode == -signal.SIGKILL else ""
    return f"the worker died (exit code {exitcode}){reason}"


def _block_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal, but the coordinator decides. What a thread starts inherits this."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
