"""Which files of an exported folder we wrote: a later export replaces these, and nothing that a person put there.

`files.json` names them with their checksums. A folder that holds another file, or one of these changed, is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

from autocompress.errors import ConfigError
from autocompress.machine import cache
from autocompress.machine.entries import sha256
from autocompress.serving.folder import SERVING

_NOTE = "files.json"
_SHOWN = 5  # names in a sentence


def note(folder: Path) -> None:
    """Write down what the finished folder holds."""
    cache.write_json(folder / _NOTE, {"files": {name: sha256(folder / name) for name in _files(folder)}})


def check(to: Path) -> None:
    """Raise `ConfigError` unless an export may write to `to`: a new or empty folder, or one that only we wrote."""
    blocking = next((place for place in (to, *to.parents) if place.exists() and not place.is_dir()), None)
    if blocking:
        raise ConfigError(f"{to}: it should be a folder, and {blocking} is a file. Give a new folder with --to.")
    if not to.exists() or not any(to.iterdir()):
        return
    if not (to / SERVING).exists():
        raise ConfigError(f"{to}: it is not empty and not an exported model. Give a new folder.")
    known = _noted(to)
    if known is None:
        raise ConfigError(
            f"{to}: it cannot be replaced, because it does not say which of its files were exported: an older version "
            "wrote it. Move it away, or give another folder with --to."
        )
    found = _files(to)
    changed = [name for name in found if name not in known or sha256(to / name) != known[name]]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise ConfigError(
            f"{to}: it cannot be replaced, because these files in it were added or changed since it was exported: "
            f"{', '.join(changed[:_SHOWN])}{more}. Move them away, or give another folder with --to."
        )


def _noted(folder: Path) -> dict[str, str] | None:
    try:
        known = json.loads((folder / _NOTE).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if isinstance(known, dict) else None


def _files(folder: Path) -> list[str]:
    """Every file but the note itself; a link counts as one."""
    files = (file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir())
    return sorted(name for file in files if (name := file.relative_to(folder).as_posix()) != _NOTE)
