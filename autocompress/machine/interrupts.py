"""Ctrl-C that no library loses, and that cuts into no database.

Python raises it wherever it finds the program. In a destructor it is printed and forgotten; PyTorch made "could not
determine the shape of object" of it, and so a failed trial: hence it is remembered, too, and raised again where the
search next comes by. Inside SQLAlchemy it left a transaction open that locked out what was to be written next, for the
20 s of MLflow's patience: hence it waits there until all is written.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_came = _waits = False


@contextmanager
def remembered() -> Iterator[None]:
    """What an interrupt does in here stays as it was, save for `check` and `waiting`."""
    global _came
    _came = False
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}

    def heed(number: int, frame: FrameType | None) -> None:
        global _came
        again, _came = _came, True
        if again or not _waits:  # who asks twice does not want to wait
            handled[number](number, frame)

    if threading.current_thread() is not threading.main_thread():  # no other thread is interrupted
        handled.clear()
    for number in handled:
        signal.signal(number, heed)
    try:
        yield
        check()
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        _came = False


def check() -> None:
    """Raise an interrupt that came and was lost."""
    if _came:
        raise KeyboardInterrupt


@contextmanager
def waiting() -> Iterator[None]:
    """An interrupt that comes in here is raised at the end: of the outermost, if one such block is in another."""
    global _waits
    came, outer, _waits = _came, _waits, True
    try:
        yield
    finally:
        _waits = outer
    if _came and not came and not outer:
        raise KeyboardInterrupt
