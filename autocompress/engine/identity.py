"""Whether a study may go on: with the data, the model, the code and the versions that its trials were made with.

What was measured with others cannot stand beside them in one front. A study can always be read.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.engine import study_file
from autocompress.errors import ConfigError
from autocompress.machine import fingerprint
from autocompress.space import keys
from autocompress.space.method import methods
from autocompress.space.recorded import traits
from autocompress.space.search_space import SearchSpace, differences
from autocompress.space.stored_space import plain

if TYPE_CHECKING:
    from autocompress.engine.events import Observer
    from autocompress.engine.state import StudyState

_PACKAGES = ("autocompress", "torch", "transformers", "optuna")  # and those of the runtime
_FREE = ("autocompress", "optuna")  # versions that no figure depends on: revisions stand for our own code
_SECTIONS = {"inputs": "", "space": "", "versions": "", "revisions": "revision of ", "runtime": "runtime "}


def versions(space: SearchSpace) -> dict[str, str]:
    """Of the packages that a figure may depend on, as they are installed."""
    from autocompress.runtimes.runtime import find_runtime  # what it finds may load torch

    return {package: version(package) for package in (*_PACKAGES, *find_runtime(space.target.runtime).packages)}


def made_of(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """What a study of `space` would be made of now. Raises `ConfigError` for data or a model that is not there."""
    from autocompress.runtimes.runtime import find_runtime
    from autocompress.trials import fingerprints

    return {
        "inputs": fingerprints.inputs(space), "space": plain(space), "versions": versions(space),
        "revisions": _revisions(space), "methods": traits(), "runtime": find_runtime(space.target.runtime).describe(),
    }  # fmt: skip


def settle(study: StudyState, observer: Observer) -> None:
    """Before the baseline is measured, write down what the study is made of; from then on, hold it to that.

    Raises `ConfigError` with what has changed.
    """
    now = made_of(SearchSpace.load(study.folder / "space.yaml", root=study.root))
    if study.baseline is None:
        study_file.update(study.folder, machine=fingerprint.machine(study.space.target.device), **now)
        return
    if unknown := {section: facts for section, facts in now.items() if section not in study.record}:
        study_file.update(study.folder, root=study_file.relative(study.root, study.folder), **unknown)
    if unknown.keys() & _SECTIONS.keys():
        observer.note(
            f"The study {study.name!r} is of an earlier version, which did not write down what data and model it was "
            "made of. It goes on with what is there now, and from now on any change of them is found."
        )
    if changes := _changes(study.record, now):
        raise ConfigError(
            f"the study {study.name!r} is made of something else than what is there now:\n  "
            + "\n  ".join(changes)
            + "\nNew trials could not be compared with those that it has. Restore what has changed, or start "
            f"another study: autocompress search SPACE.yaml --study {study.name}-2"
        )


def unchanged(study: StudyState) -> bool:
    """Whether what is measured now, on this machine with these versions, can stand beside the study's figures."""
    from autocompress.runtimes.runtime import find_runtime

    record = study.record
    now = {"versions": versions(study.space), "runtime": find_runtime(study.space.target.runtime).describe()}
    known = {section: record.get(section, facts) for section, facts in now.items()}
    return record["machine"] == fingerprint.machine(study.space.target.device) and not _changes(known, now)


def adopt(study: StudyState, space: SearchSpace, path: Path) -> None:
    """Let the study end as `space` says, which lies in `path` and is otherwise its own. The caller holds the study."""
    draft = study.folder / ".space.yaml"
    shutil.copyfile(path, draft)
    draft.replace(study.folder / "space.yaml")
    study_file.update(study.folder, space=plain(space))


def check_space(study: StudyState, space: SearchSpace, path: Path) -> None:
    """Raise `ConfigError` if the file `path` holds another space than the study's, or lies beside other data."""
    known = study.record.get("space") or plain(study.space)
    own = f"Give this one a name of its own: --study {study.name}-2"
    copy = study.folder / "space.yaml"
    if changes := _changes({"space": known}, {"space": plain(space)}):
        maker = f"autocompress {study.record['versions']['autocompress']}, which filled this file with other defaults"
        before = maker if copy.read_bytes() == path.read_bytes() else "another space"
        lines = [f"{path}: the study {study.name!r} was made with {before}:", *(f"  {line}" for line in changes), own]
        raise ConfigError("\n".join(lines))
    if study.root != space.root.resolve() and _names_files(space, study.root):
        raise ConfigError(
            f"{path}: the study {study.name!r} was made of the model and data beside another file of the same text, in "
            f"{study.root}. {own}"
        )


def _names_files(space: SearchSpace, other: Path) -> bool:
    """Whether a path in it starts from the folder that the space lies in, or from the `other`."""
    data = space.task.data
    names = [space.model, space.teacher, *([data] if isinstance(data, str) else data.values())]
    return any((root / name).exists() for root in (space.root, other) for name in names if isinstance(name, str))


def _changes(known: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line each."""
    lines = []
    for section, prefix in _SECTIONS.items():
        if section in known and section in now:
            pair = [{k: v for k, v in each[section].items() if k not in _FREE} for each in (known, now)]
            if section == "space":
                pair = [SearchSpace.identity(dump) for dump in pair]
            lines += [prefix + line for line in differences(*pair)]
    return lines


def _revisions(space: SearchSpace) -> dict[str, int | str]:
    """Of the methods that the space's recipes and its teacher may hold, and of what all of them share."""
    named = set(_words([space.dump()["steps"], space.dump()["teacher"]])) | {"finetune"}
    own: dict[str, int | str] = {name: keys.revision(method) for name, method in methods().items() if name in named}
    return own | {"training": keys.TRAINER, "importance": keys.IMPORTANCE, "measuring": keys.MEASURING}


def _words(data: Any) -> list[str]:
    """Every key and text in it."""
    match data:
        case dict():
            return [*data, *_words(list(data.values()))]
        case list():
            return [word for part in data for word in _words(part)]
        case str():
            return [data]
    return []
