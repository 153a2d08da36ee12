"""How entries lie in the cache, whether they are sound, and who uses them.

    <root>/<kind>/<key>/         an entry: its files, and manifest.json with their sizes and checksums
    <root>/<kind>/<key>.json     a small value with its checksum
    <root>/<kind>/<key>.lock     locked by who builds the entry or takes it away
    <root>/<kind>/CACHEDIR.TAG   says that all of this may be deleted; where it is missing, nothing is
    <root>/<kind>/.<name>.<8>    a draft, or what is left of one

Who uses an entry shares a lock on its manifest: the operating system's, so that a killed process holds nothing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_SH, flock
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.errors import ConfigError
from autocompress.machine import disk

if TYPE_CHECKING:
    from filelock import FileLock

MANIFEST = "manifest.json"
DRAFTS = ".*.????????"  # the names of `draft_of`
TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir: backups leave such folders out
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by autocompress. What is in here may be deleted.\n"

_held: dict[Path, BufferedReader] = {}  # the locked manifests of what this process uses
_compared: set[tuple[Path, bytes]] = set()  # the manifests whose checksums this process compared


def cache_root() -> Path:
    """`$AUTOCOMPRESS_CACHE`, else `~/.cache/autocompress`. Raises `ConfigError` for a user who has no home."""
    if given := os.environ.get("AUTOCOMPRESS_CACHE"):
        return Path(given)
    try:
        return Path.home() / ".cache" / "autocompress"
    except RuntimeError as error:
        raise ConfigError(
            "the cache has no folder, because this user has no home. Set AUTOCOMPRESS_CACHE to a folder that can be "
            "written."
        ) from error


def kind_folder(kind: str) -> Path:
    """Where the entries of a kind lie. Raises `ConfigError` if nothing can be written there."""
    place = cache_root() / kind
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not (place / TAG).exists():
            (place / TAG).write_text(_TAG_TEXT)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if disk.full(error):
            raise
        raise ConfigError(
            f"{place}: the cache cannot be written there ({error.strerror}). "
            "Set AUTOCOMPRESS_CACHE to a folder that can be written."
        ) from error
    return place


def draft_of(place: Path) -> Path:
    """A new name beside `place` for what is being written."""
    return place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")


def builder_lock(place: Path, timeout: float = -1) -> FileLock:
    """Held by who builds the entry or takes it away. Its file stays while the entry does."""
    from filelock import FileLock

    return FileLock(f"{place}.lock", timeout=timeout)


def fill(place: Path, draft: Path, build: Callable[[Path], None]) -> None:
    """Build in `draft` the entry that will lie at `place`, and its manifest."""
    start = time.perf_counter()
    build(draft)
    seconds = round(time.perf_counter() - start, 3)
    files = {
        file.relative_to(draft).as_posix(): {"sha256": sha256(file), "size": file.stat().st_size}
        for file in sorted(draft.rglob("*"))
        if file.is_file()
    }
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    manifest = json.dumps({"made": made, "seconds": seconds, "id": uuid.uuid4().hex, "files": files}, indent=1)
    (draft / MANIFEST).write_text(manifest)
    _compared.add((place, manifest.encode()))


def use(place: Path) -> bool:
    """Keep a sound entry from being taken away while this process or its lease lasts. False: there is none.

    The sizes of its files are compared every time, their bytes once a process.
    """
    try:
        handle = (place / MANIFEST).open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return False
    flock(handle, LOCK_SH)
    if not (_is_still_there(place, handle) and _is_sound(place, handle.read())):
        handle.close()
        return False
    if place in _held:
        _held[place].close()
    _held[place] = handle
    touch(place / MANIFEST)
    return True


@contextmanager
def lease() -> Iterator[None]:
    """What is first used inside may be taken away afterwards. What is used outside stays until the process ends."""
    before = set(_held)
    try:
        yield
    finally:
        for place in _held.keys() - before:
            _held.pop(place).close()


def files_of(place: Path) -> list[str]:
    """The files of a sound entry, by their paths in it."""
    return list(json.loads((place / MANIFEST).read_bytes())["files"])


def touch(file: Path) -> None:
    """It was used now. Where one may only read, nothing is taken away either."""
    with suppress(OSError):
        os.utime(file)


def sha256(file: Path) -> str:
    """Of a file's bytes, as 64 hex digits."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _is_still_there(place: Path, handle: BufferedReader) -> bool:
    """Whether the locked manifest is the entry's, and not that of one that was taken away before it was locked."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle.fileno()), (place / MANIFEST).stat())
    return False


def _is_sound(place: Path, manifest: bytes) -> bool:
    """Whether all files are there as they were made."""
    try:
        files = json.loads(manifest)["files"].items()
        if any((place / name).stat().st_size != said["size"] for name, said in files):
            return False
        if (place, manifest) not in _compared:
            if any(sha256(place / name) != said["sha256"] for name, said in files):
                return False
            _compared.add((place, manifest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such file; a manifest that is none
        return False
    return True
