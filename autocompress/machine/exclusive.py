"""Quiet while latency is measured: one measurement at a time on a machine, and whatever trains there pauses meanwhile.

Why pause: beside training on the other core of two, MiniLM's wall time doubled (16 to 33 ms), its 95th percentile rose
from 1.15 to 1.26 medians, and the interval of the speedup by CPU time widened from 1.9 to 3.3 %, though the speedup
itself moved by 1.6 % at most. A measurement takes two seconds, so training waits for it, between two steps.

Two locks that all processes of the machine share. Who measures holds the gate and waits until nobody holds the floor.
Who trains holds the floor, together with others who train, and between two steps gives it up and passes the gate. The
kernel frees what a killed process held.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from io import BufferedReader
from pathlib import Path

_PATIENCE = 20.0  # seconds: who takes longer for a step, or to measure, hangs or was stopped, and holds nobody up
_QUEUE = 120.0  # seconds: the same for all who measure before me


@contextmanager
def quiet() -> Iterator[bool]:
    """Nobody else measures, nobody trains. Gives whether that is so: who waited too long goes on beside the others."""
    with _lock("latency") as gate, _lock("training") as floor:
        first = _try(gate, LOCK_EX, _QUEUE)
        yield _try(floor, LOCK_EX, _PATIENCE) and first


class Floor:
    """What a process that trains shares with others that train. Use as a context manager."""

    def __init__(self) -> None:
        self._gate, self._floor = _lock("latency"), _lock("training")
        self._hung = False  # whoever measures now was waited for already

    def after_step(self, *, last: bool) -> None:
        """Let those go first who want to measure. After the last step nothing is held any more."""
        flock(self._floor, LOCK_UN)
        if not last:
            self._hung = not _try(self._gate, LOCK_SH, 0 if self._hung else _PATIENCE)
            flock(self._gate, LOCK_UN)
            _try(self._floor, LOCK_SH, 0)

    def __enter__(self) -> Floor:
        return self

    def __exit__(self, *error: object) -> None:
        self._floor.close()
        self._gate.close()


def _try(lock: BufferedReader, kind: int, patience: float) -> bool:
    """Lock it, or go on without after so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            flock(lock, kind | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _lock(name: str) -> BufferedReader:
    """A file to lock, which may be another user's: so it is only read. Where that is not allowed, a file of our own."""
    folder = Path(tempfile.gettempdir())
    with suppress(OSError):  # made by an older version under a umask of 077, or a link
        return _opened(folder / f"autocompress-{name}.lock")
    return _opened(folder / f"autocompress-{name}-{os.getuid()}.lock")


def _opened(place: Path) -> BufferedReader:
    """Made first if need be, for every user to open, whatever the umask of this one."""
    with suppress(FileExistsError):
        made = os.open(place, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.fchmod(made, 0o666)
        os.close(made)
    return os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
