"""A line a minute, where a program that works for long would say nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

EVERY = 60.0  # seconds


class Heartbeat:
    """Use as a context manager: `status` is asked for a line, and `say` given it, after `every` seconds of silence.

    Both are called from another thread. A process that is about to end does not wait for that thread.
    """

    def __init__(self, status: Callable[[], str], say: Callable[[str], None], every: float = EVERY) -> None:
        self._status, self._say, self._every = status, say, every
        self._said = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="autocompress-heartbeat", daemon=True)

    def heard(self) -> None:
        """Something else was printed just now: the silence begins anew."""
        self._said = time.monotonic()

    def _beat(self) -> None:
        while not self._stopped.wait(max(0.0, self._said + self._every - time.monotonic())):
            if time.monotonic() >= self._said + self._every:
                self._said = time.monotonic()
                self._say(self._status())

    def __enter__(self) -> Heartbeat:
        self.heard()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()
