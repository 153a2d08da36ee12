"""Results that are dear to make, kept by what they were made from.

Key = digest of everything the result depends on. An entry is written beside its place, flushed, and renamed into it, so
that a killed process leaves nothing half-made; a lock an entry keeps two processes from making the same thing twice.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

_UMASK = os.umask(0)
os.umask(_UMASK)


def cache_root() -> Path:
    """`$AUTOCOMPRESS_CACHE`, else `~/.cache/autocompress`."""
    return Path(os.environ.get("AUTOCOMPRESS_CACHE") or Path.home() / ".cache" / "autocompress")


def folder(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of this entry; `build` fills it if it is not there yet."""
    place = cache_root() / kind / key
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            for left in place.parent.glob(f".{key}.*"):  # by a process that was killed at it
                shutil.rmtree(left)
            write_folder(place, build)
    return place


def value(kind: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A small JSON value, computed if it is not there yet. What `compute` raises is not remembered."""
    place = cache_root() / kind / f"{key}.json"
    if place.is_file():
        known: dict[str, Any] = json.loads(place.read_text())
        return known
    computed = compute()
    write_json(place, computed)
    return computed


def write_folder(place: Path, build: Callable[[Path], None]) -> None:
    """Fill a folder beside `place`, then rename it there: `place` exists whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(place)
    draft.mkdir()
    try:
        build(draft)
        for file in draft.rglob("*"):
            if file.is_file():
                file.chmod(0o666 & ~_UMASK)  # some libraries write files that only their owner may read
                _flush(file)
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_json(place: Path, data: Any) -> None:
    """Write `data` so that a reader sees the old file or the new one, never half of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(place)
    with draft.open("w") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(place)


def _draft_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
