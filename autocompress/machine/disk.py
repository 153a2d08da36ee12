"""A full disk pauses a search: it is nobody's mistake, and once there is room the same command goes on.

Every library that writes says it in its own way, and some not at all: those are found by the room that is left.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.errors import Paused

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: a limit on the size of a file, as of `ulimit -f`
_SAID = re.compile("disk is full|disk I/O error|No space left on device|Disk quota exceeded|File too large", re.I)
_LEAST = 65_536  # bytes: with less than this nothing can be written


def full(error: BaseException) -> str:
    """What says, in the error or in what caused it, that the disk is full; nothing, if it is not."""
    seen: BaseException | None = error
    while seen:
        said = str(seen).strip()
        if isinstance(seen, OSError) and seen.errno in FULL:
            return f"{seen.strerror}: {seen.filename}" if seen.filename else said
        if found := _SAID.search(said):
            return next(line for line in said.splitlines() if found[0] in line)[:200]
        seen = seen.__cause__ or seen.__context__
    return ""


def paused(reason: str) -> Paused:
    """The pause for this reason."""
    return Paused(f"the disk is full ({reason}). Free some space, then resume")


@contextmanager
def pausing() -> Iterator[None]:
    """Trouble in here that comes from a full disk is raised as `Paused`."""
    try:
        yield
    except Paused:
        raise
    except Exception as error:
        if reason := full(error):
            raise paused(reason) from error
        raise


@contextmanager
def with_room(folder: Path) -> Iterator[None]:
    """A full disk under `folder` is an `OSError` at the latest at the end: not every library says so."""
    try:
        yield
    except Exception as error:
        if not full(error):
            _check(folder, error)
        raise
    _check(folder, None)


def _check(folder: Path, cause: Exception | None) -> None:
    left = os.statvfs(folder)
    if left.f_bavail * left.f_frsize < _LEAST:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from cause
