"""Results that are dear to make, kept by what they were made from.

Key = digest of everything the result depends on. An entry is written beside its place, flushed, and renamed into it, so
that a killed process leaves nothing half-made; a lock an entry keeps two processes from making the same thing twice.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


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
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        build(draft)
        for file in draft.rglob("*"):
            if file.is_file():
                _flush(file)
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_json(place: Path, data: Any) -> None:
    """Write `data` so that a reader sees the old file or the new one, never half of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=f".{place.name}.", delete=False) as draft:
        json.dump(data, draft, indent=1)
        draft.flush()
        os.fsync(draft.fileno())
    os.replace(draft.name, place)


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
