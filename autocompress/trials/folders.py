"""A trial's folder while somebody needs it: an export reads what a search, in another process, would tidy away.

The lock is the operating system's, on the folder itself, so that a killed process holds nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path


@contextmanager
def kept(place: Path) -> Iterator[None]:
    """Nobody removes the folder meanwhile; it is made if it is not there. One process at a time."""
    handle = _locked(place)
    while handle is None:  # it was removed while we waited for it
        handle = _locked(place)
    try:
        yield
    finally:
        os.close(handle)


def remove(place: Path) -> bool:
    """Delete the folder. False: it stays, because somebody needs it."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        flock(handle, LOCK_EX | LOCK_NB)
        shutil.rmtree(place, ignore_errors=True)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(handle)
    return True


def _locked(place: Path) -> int | None:
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a file system without locks
        flock(handle, LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), place.stat()):
            return handle
    os.close(handle)
    return None
