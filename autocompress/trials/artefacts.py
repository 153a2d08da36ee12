"""What workers make for a study, by key: whole folders, and small texts. A key is a path such as `trials/017/model`.

A worker may be another process, with another working directory: it gives what it made to `Artefacts` and to nothing
else, and finds there what others made. On one machine they lie in the study's folder, under their keys.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Protocol

from autocompress.machine import cache, entries
from autocompress.space.goals import Measurement

REMEASURED = "remeasured.json"  # under a trial's key: its latency in a process of its own


class Artefacts(Protocol):
    """Where they are kept."""

    def put(self, key: str, fill: Callable[[Path], object]) -> None:
        """Keep the folder that `fill` writes: it is there whole or not at all."""

    def get(self, key: str) -> Path | None:
        """The folder, on this machine; None if there is none."""

    def drop(self, key: str) -> bool:
        """Delete the folder and all beneath it. False: it stays, because somebody needs it."""

    def write(self, key: str, text: str) -> None:
        """Keep a small text."""

    def read(self, key: str) -> str | None:
        """The text; None if there is none."""

    def sweep(self, key: str) -> None:
        """Delete what processes that were killed were writing under this key, unless somebody needs the folder."""


class LocalArtefacts:
    """In a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, fill: Callable[[Path], object]) -> None:
        cache.write_folder(self._root / key, fill)

    def get(self, key: str) -> Path | None:
        place = self._root / key
        return place if place.is_dir() else None

    def drop(self, key: str) -> bool:
        return _removed(self._root / key)

    def write(self, key: str, text: str) -> None:
        cache.write_text(self._root / key, text)

    def read(self, key: str) -> str | None:
        place = self._root / key
        return place.read_text() if place.is_file() else None

    def sweep(self, key: str) -> None:
        place = self._root / key
        if drafts := list(place.glob(entries.DRAFTS)):
            with _unless_kept(place) as free:
                for draft in drafts if free else ():
                    shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)


def find(address: str) -> Artefacts:
    """The artefacts at an address: a folder of this machine."""
    return LocalArtefacts(Path(address))


def trial_key(number: int, repeat: int = 0) -> str:
    """Under which a trial keeps what was made of it: aside/, model/, artefact/, curve.jsonl. A repeat has its own."""
    return f"trials/{number:03d}" + (f"-{repeat}" if repeat else "")


def remeasured(artefacts: Artefacts, number: int) -> Measurement:
    """What was measured of a trial in a process of its own; nothing, if it was not done."""
    known: Measurement = json.loads(artefacts.read(f"{trial_key(number)}/{REMEASURED}") or "{}")
    return known


@contextmanager
def kept(place: Path) -> Iterator[None]:
    """Nobody drops the folder meanwhile: an export reads what a search, in another process, would tidy away.

    The lock is the operating system's, on the folder itself, so that a killed process holds nothing. The folder is
    made if it is not there. One process at a time.
    """
    handle = _locked(place)
    while handle is None:  # it was removed while we waited for it
        handle = _locked(place)
    try:
        yield
    finally:
        os.close(handle)


def _removed(place: Path) -> bool:
    try:
        with _unless_kept(place) as free:
            if free:
                shutil.rmtree(place, ignore_errors=True)
            return free
    except FileNotFoundError:
        return True


@contextmanager
def _unless_kept(place: Path) -> Iterator[bool]:
    """Whether nobody needs the folder; then nobody else takes it either, for as long as this lasts."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks
            free = True
        yield free
    finally:
        os.close(handle)


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
