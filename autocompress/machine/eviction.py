"""How much the cache holds, and what goes when it is too much: what was not used for the longest time.

What somebody uses or builds stays. What studies took for themselves is theirs (see `cache.take`).
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from autocompress.errors import ConfigError
from autocompress.machine.entries import DRAFTS, MANIFEST, TAG, builder_lock, cache_root, draft_of

_LIMIT_GB = "20"
_ABANDONED = 3600.0  # seconds after which nobody writes a small file any more
_LOOK_AGAIN = 600.0  # seconds


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


@dataclass
class _Total:
    """What the cache held when it was last looked through, and what this process has built since."""

    root: Path
    bytes: int
    at: float  # on the monotonic clock


_total: _Total | None = None


def make_room(limit: int, built: Path | None = None) -> None:
    """Take away what was not used for the longest time until no more than `limit` bytes are left.

    `built`: the entry that was added. A large cache is looked through only when it may hold too much by what this
    process knows, and every ten minutes, for the sake of what others add.
    """
    global _total
    known = _total
    if built and known and known.root == cache_root() and time.monotonic() - known.at < _LOOK_AGAIN:
        known.bytes += _entry(built).bytes
        if known.bytes <= limit:
            return
    _sweep()
    found = sorted(entries(), key=lambda entry: entry.used)
    total = sum(entry.bytes for entry in found)
    for entry in found:
        if total <= limit:
            break
        if _remove(entry.place):
            total -= entry.bytes
    _total = _Total(cache_root(), total, time.monotonic())


def clear(kind: str | None = None) -> int:
    """Take away every entry (of a kind). Returns the bytes that the disk has back."""
    _sweep()
    freed = 0
    for entry in entries(kind):
        own = _only_here(entry.place)
        freed += own if _remove(entry.place) else 0
    _sweep_locks(kind, older_than=0.0)
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
    except (TimeoutError, BlockingIOError):
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
    """Take away what killed processes left half-made, and the locks of what is gone."""
    _sweep_locks(None, _ABANDONED)
    for tag in cache_root().glob(f"*/{TAG}"):
        for draft in tag.parent.glob(DRAFTS):
            with suppress(TimeoutError, FileNotFoundError):
                if draft.is_dir():
                    with builder_lock(draft.parent / draft.name[1:-9], timeout=0):
                        shutil.rmtree(draft, ignore_errors=True)
                elif time.time() - draft.stat().st_mtime > _ABANDONED:
                    draft.unlink()


def _sweep_locks(kind: str | None, older_than: float) -> None:
    """Delete the lock files of entries that are gone, but for those that somebody holds."""
    for tag in cache_root().glob(f"{kind or '*'}/{TAG}"):
        for file in tag.parent.glob("*.lock"):
            entry = file.with_suffix("")
            with suppress(TimeoutError, FileNotFoundError):
                if not entry.exists() and time.time() - file.stat().st_mtime >= older_than:
                    with builder_lock(entry, timeout=0):
                        if not entry.exists():
                            file.unlink()
