"""Ctrl-C that no library loses.

Python raises it wherever it finds the program. In a destructor it is printed and forgotten; PyTorch made "could not
determine the shape of object" of it, and so a failed trial. Hence it is remembered, too, and raised again where the
search next comes by.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_raised = False


@contextmanager
def remembered() -> Iterator[None]:
    """What an interrupt does stays as it was; if it was to be raised in here, `check` raises it again."""
    global _raised
    _raised = False
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}

    def remember(number: int, frame: FrameType | None) -> None:
        global _raised
        try:
            handled[number](number, frame)
        except KeyboardInterrupt:
            _raised = True
            raise

    if threading.current_thread() is not threading.main_thread():  # another thread is never interrupted
        handled.clear()
    for number in handled:
        signal.signal(number, remember)
    try:
        yield
        check()
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        _raised = False


def check() -> None:
    """Raise `KeyboardInterrupt` if it was raised before and lost."""
    if _raised:
        raise KeyboardInterrupt
