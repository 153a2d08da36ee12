"""Results that are dear to make, kept by what they were made from.

Key = digest of everything the result depends on. An entry is written beside its place, flushed, and renamed into it, so
that a killed process leaves nothing half-made; a lock an entry keeps two processes from making the same thing twice.
What raises is not remembered. Nobody may change an entry's files: studies share them (see `take`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocompress.machine import disk, entries, eviction, fault_points
from autocompress.machine.entries import cache_root, lease
from autocompress.machine.eviction import clear, usage

__all__ = [
    "cache_root", "clear", "folder", "has_value", "lease", "take", "usage", "value", "write_folder", "write_json",
]  # fmt: skip

_UMASK = os.umask(0)
os.umask(_UMASK)


def folder(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of this entry; `build` fills it if it is not there yet or was damaged.

    It stays until the `lease` around this call ends, or the process. Then it may be evicted.
    """
    place = cache_root() / kind / key
    if not entries.use(place):
        limit = eviction.limit_bytes()
        entries.kind_folder(kind)
        with entries.builder_lock(place):
            if not entries.use(place):
                for left in place.parent.glob(f".{key}.*"):  # by a process that was killed at it
                    shutil.rmtree(left, ignore_errors=True)
                write_folder(place, lambda draft: entries.fill(place, draft, build))
                entries.use(place)
        eviction.make_room(limit, place)
    return place


def take(entry: Path, place: Path) -> None:
    """Give a study a copy of an entry of its own, which eviction does not reach. Hard links, where the disk can."""

    def share(draft: Path) -> None:
        for name in entries.files_of(entry):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(entry / name, draft / name)
            except OSError:  # another disk, or one without links
                shutil.copyfile(entry / name, draft / name)

    write_folder(place, share)


def value(kind: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A small JSON value, computed if it is not there yet or was damaged."""
    place = cache_root() / kind / f"{key}.json"
    known = _read(place)
    if known is None:
        known = json.loads(json.dumps(compute()))  # the first answer is the same as later ones
        entries.kind_folder(kind)
        write_json(place, {"sha256": _checksum(known), "value": known})
    entries.touch(place)
    return known


def has_value(kind: str, key: str) -> bool:
    """Whether a small value is there, and sound."""
    return _read(cache_root() / kind / f"{key}.json") is not None


def write_folder(place: Path, build: Callable[[Path], object]) -> None:
    """Fill a folder beside `place`, then rename it there: `place` exists whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft, old = entries.draft_of(place), entries.draft_of(place)
    draft.mkdir()
    try:
        with disk.with_room(place.parent):
            build(draft)
        for file in draft.rglob("*"):
            if file.is_file():
                _settle(file)
            else:
                _settle_names(file)
        _settle_names(draft)
        fault_points.point("entry")
        if place.exists():
            place.rename(old)  # who is killed while deleting must not leave half of it there
        draft.rename(place)
        _settle_names(place.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_json(place: Path, data: Any) -> None:
    """Write `data` so that a reader sees the old file or the new one, never half of it."""
    write_text(place, json.dumps(data, indent=1))


def write_text(place: Path, text: str) -> None:
    """The same of a text."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = entries.draft_of(place)
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
        _settle_names(place.parent)
    finally:
        draft.unlink(missing_ok=True)


def _read(place: Path) -> dict[str, Any] | None:
    """A value as it was written, or None."""
    try:
        stored = json.loads(place.read_text())
        known: dict[str, Any] = stored["value"]
        return known if stored["sha256"] == _checksum(known) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def _settle(file: Path) -> None:
    """Onto the disk, and for those to read whom the umask lets: some libraries write for the owner only."""
    mode = 0o666 & ~_UMASK
    if file.stat().st_mode & 0o777 != mode:  # a file that is shared with the cache has it, and may be another user's
        file.chmod(mode)
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _settle_names(folder: Path) -> None:
    """Onto the disk, too, which files a folder holds: without that a power cut may undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)
