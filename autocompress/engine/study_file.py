"""study.json: what a study is, where its space lies, what it is made of, and what its baseline measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.machine import cache, fingerprint
from autocompress.space.search_space import SearchSpace
from autocompress.space.stored_space import plain, restore

NAME = "study.json"
FORMAT = 2  # 1 held an absolute path as its root, and not what the study is made of
_PLAIN = re.compile(r"\w[\w.-]*")


def checked_name(name: str) -> str:
    """`name`, if it can be a folder in studies/. Raises `ConfigError`."""
    if not _PLAIN.fullmatch(name):
        raise ConfigError(
            f"--study: a study's name consists of letters, digits, '.', '_' and '-', begins with a letter or "
            f"digit, and becomes a folder in studies/. Got {name!r}."
        )
    return name


def read(folder: Path) -> dict[str, Any]:
    """What the file holds. Raises `ConfigError` if a later version wrote it."""
    record: dict[str, Any] = json.loads((folder / NAME).read_text("utf-8"))
    if (found := record.get("format", 1)) > FORMAT:
        raise ConfigError(
            f"{folder / NAME}: this version reads format {FORMAT}. Got {found}. Install a newer autocompress."
        )
    return record


def write(folder: Path, record: dict[str, Any]) -> None:
    cache.write_json(folder / NAME, record)


def update(folder: Path, **facts: Any) -> None:
    """Write these facts over what is there."""
    write(folder, read(folder) | facts)


def begin(folder: Path, space: SearchSpace, path: Path, versions: dict[str, str]) -> None:
    """Write down a new study of `space`, which lies in the file `path`."""
    shutil.copyfile(path, folder / "space.yaml")
    record = {
        "format": FORMAT, "id": uuid.uuid4().hex, "root": relative(space.root, folder),
        "created": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": fingerprint.machine(space.target.device),
        "versions": versions, "space": plain(space),
    }  # fmt: skip
    write(folder, record)


def clear(folder: Path) -> None:
    """Delete all that is in a study's folder but what says who holds it, and study.json, to be written over."""
    for place in folder.iterdir():
        if place.name not in (NAME, "space.yaml", "lock", "holder.json"):
            shutil.rmtree(place) if place.is_dir() else place.unlink()


def relative(root: Path, folder: Path) -> str:
    """`root` as seen from the study's folder, so that a project may be moved or copied with its studies."""
    try:
        return os.path.relpath(root.resolve(), folder)
    except ValueError:  # another drive
        return str(root.resolve())


def root_of(folder: Path) -> Path:
    """The folder that relative paths in the study's space start from."""
    root: str = read(folder)["root"]
    return _followed(folder, Path(root)) if os.path.isabs(root) else (folder / root).resolve()


def _followed(folder: Path, root: Path) -> Path:
    """An absolute `root`, of a study of format 1; or the project that the study lies in, if that has what it names.

    So what was moved or copied reads its own files, and not those of the folder that it came from.
    """
    from autocompress.space.language.yaml_lines import YamlSource  # who looks at a study needs no yaml

    space, project = YamlSource.read(folder / "space.yaml").data, folder.parents[1]
    data = space.get("task", {}).get("data")
    named = [space.get("model"), space.get("teacher"), *(data.values() if isinstance(data, dict) else [data])]
    files = [name for name in named if isinstance(name, str) and any((at / name).exists() for at in (root, project))]
    return project if files and all((project / name).exists() for name in files) else root


def space_of(folder: Path) -> SearchSpace:
    """The study's space as it was when the study was made.

    Where this version would fill it with other defaults, or cannot read it any more, it can be looked at, and no more.
    Raises `ConfigError` if it cannot be read and no filled copy is kept.
    """
    written, root = read(folder).get("space"), root_of(folder)
    try:
        space = SearchSpace.load(folder / "space.yaml", root=root)
    except ConfigError:
        if written is None:
            raise
        return restore(written, root)
    return space if written in (None, plain(space)) else restore(written, root)


def brief_of(folder: Path) -> SearchSpace:
    """The study's space without its steps, and without loading a method; of an old study, all of it."""
    record = read(folder)
    if (written := record.get("space")) is None:
        return space_of(folder)
    return restore(written, root_of(folder), record.get("methods"))
