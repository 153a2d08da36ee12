"""What runs in a worker process: settling in, ending with the coordinator, and the jobs."""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection

from autocompress.trials.job import Job, Result

_BETWEEN_STEPS = 0.25  # seconds: a person cannot read faster

_line: Connection | None = None
_threads = (1, 1)  # this worker's share, and what the machine has
_stopping = threading.Event()


def settle(index: int, count: int, line: Connection) -> None:
    """Take this worker's share of the machine, before its first job."""
    global _line, _threads
    import torch  # here: the coordinator imports this module too

    _line = line
    warnings.showwarning = _hand_on
    threading.Thread(target=_end_with_the_line, args=(line,), daemon=True).start()
    _threads = max(1, torch.get_num_threads() // count), torch.get_num_threads()
    if gpus := torch.cuda.device_count():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu_for(index, gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _hand_on(message: Warning | str, *place: object, **more: object) -> None:
    """A warning goes to the coordinator, which may be drawing on this terminal, and hears it from every worker."""
    assert _line
    with suppress(OSError):
        _line.send(str(message))


def gpu_for(index: int, gpus: int, visible: str | None) -> str:
    """The GPU of a worker, out of those that this machine or the user's CUDA_VISIBLE_DEVICES shows."""
    names = visible.split(",") if visible else [str(gpu) for gpu in range(gpus)]
    return names[index % gpus]


def _end_with_the_line(line: Connection) -> None:
    """One word may come down the line: to stop after this step. `recv` fails once the coordinator is no more."""
    try:
        line.recv()
        _stopping.set()
        line.recv()
    except (EOFError, OSError):
        os._exit(1)


def work(job: Job) -> Result:
    """Do the job, telling of the first step, the last, and a few every second."""
    import torch

    from autocompress.trials.perform import perform

    said, alone = 0.0, job.kind == "baseline"  # before which nobody else has anything to do
    torch.set_num_threads(_threads[alone])

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal said
        if step == steps or time.monotonic() - said > _BETWEEN_STEPS:
            said = time.monotonic()
            assert _line
            _line.send((step, steps, loss))
        if _stopping.is_set():
            raise KeyboardInterrupt  # by which a training is put aside

    try:
        return perform(job, tell)
    except KeyboardInterrupt:
        os._exit(0)
