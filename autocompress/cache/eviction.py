"""How much the cache holds, and what goes when it is too much: what was not used for the longest time.

What somebody uses or builds stays. What studies took for themselves is theirs (see `cache.take`).
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from autocompress.cache.shelf import MANIFEST, TAG, builder_lock, cache_root, draft_of
from autocompress.errors import ConfigError

_LIMIT_GB = "20"
_ABANDONED = 3600.0  # seconds after which nobody writes a small file any more


class Entry(NamedTuple):
    """A folder or a value in the cache."""

    place: Path
    bytes: int
    used: float  # seconds since 1970


class Usage(NamedTuple):
    """What the entries of one kind take, and when the first and the last of them were used."""

    kind: str
    entries: int
    bytes: int
    oldest_use: float  # seconds since 1970
    newest_use: float


def limit_bytes() -> int:
    """`$AUTOCOMPRESS_CACHE_GB` (20 if it is not set) in bytes. Raises `ConfigError`."""
    given = os.environ.get("AUTOCOMPRESS_CACHE_GB") or _LIMIT_GB
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = -1.0
    if gigabytes < 0 or not isfinite(gigabytes):
        raise ConfigError(
            f"AUTOCOMPRESS_CACHE_GB: it should be a number of gigabytes such as 20 or 0.5. Got {given!r}."
        )
    return int(gigabytes * 1e9)


def make_room(limit: int) -> None:
    """Take away what was not used for the longest time until no more than `limit` bytes are left."""
    _sweep()
    known = sorted(entries(), key=lambda entry: entry.used)
    total = sum(entry.bytes for entry in known)
    for entry in known:
        if total <= limit:
            return
        if _remove(entry.place):
            total -= entry.bytes


def clear(kind: str | None = None) -> int:
    """Take away every entry (of a kind). Returns the bytes that the disk has back."""
    _sweep()
    freed = 0
    for entry in entries(kind):
        own = _only_here(entry.place)
        freed += own if _remove(entry.place) else 0
    return freed


def usage() -> list[Usage]:
    """A row a kind, the largest first."""
    kinds: dict[str, list[Entry]] = {}
    for entry in entries():
        kinds.setdefault(entry.place.parent.name, []).append(entry)
    rows = [
        Usage(kind, len(own), sum(e.bytes for e in own), min(e.used for e in own), max(e.used for e in own))
        for kind, own in kinds.items()
    ]
    return sorted(rows, key=lambda row: -row.bytes)


def entries(kind: str | None = None) -> list[Entry]:
    """Every entry, sound or not. What else lies in the root is none: it may be anybody's."""
    found = []
    for tag in cache_root().glob(f"{kind or '*'}/{TAG}"):
        for place in tag.parent.iterdir():
            value = place.suffix == ".json" and place.is_file()
            if not place.name.startswith(".") and (value or (place.is_dir() and Path(f"{place}.lock").exists())):
                with suppress(FileNotFoundError):  # another process took it away meanwhile
                    found.append(_entry(place))
    return found


def _entry(place: Path) -> Entry:
    manifest = place / MANIFEST
    used = (manifest if manifest.exists() else place).stat().st_mtime
    return Entry(place, sum(file.stat().st_size for file in _files(place)), used)


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]


def _only_here(place: Path) -> int:
    """Bytes of the files that no study shares."""
    with suppress(FileNotFoundError):
        return sum(stat.st_size for stat in (file.stat() for file in _files(place)) if stat.st_nlink == 1)
    return 0


def _remove(place: Path) -> bool:
    """Take an entry away. False: it stays, because somebody builds or uses it."""
    if place.suffix == ".json":
        place.unlink(missing_ok=True)
        return True
    try:
        with builder_lock(place, timeout=0):
            away = draft_of(place)
            _rename(place, away)
    except (Timeout, BlockingIOError):
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _rename(place: Path, away: Path) -> None:
    """Raises `BlockingIOError` if somebody uses it."""
    with suppress(FileNotFoundError):  # taken away by another process
        if not (place / MANIFEST).exists():  # nobody can use it
            place.rename(away)
            return
        with (place / MANIFEST).open("rb") as handle:
            flock(handle, LOCK_EX | LOCK_NB)
            place.rename(away)


def _sweep() -> None:
    """Take away what killed processes left half-made."""
    for tag in cache_root().glob(f"*/{TAG}"):
        for draft in tag.parent.glob(".*.????????"):
            with suppress(Timeout, FileNotFoundError):
                if draft.is_dir():
                    with builder_lock(draft.parent / draft.name[1:-9], timeout=0):
                        shutil.rmtree(draft, ignore_errors=True)
                elif time.time() - draft.stat().st_mtime > _ABANDONED:
                    draft.unlink()
