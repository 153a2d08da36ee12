"""What a study's figures come from besides its space: texts, checkpoints, tokenizer, a line each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autocompress.errors import ConfigError
from autocompress.machine.entries import sha256
from autocompress.models import loading
from autocompress.models.hub import FILES
from autocompress.space.language.steps import every_method
from autocompress.space.method import Method, find
from autocompress.space.search_space import SearchSpace, differences
from autocompress.tasks.data.splits import Texts, load_texts
from autocompress.tasks.kind import Label

_TOKENIZER = ("token", "vocab", "merges", "special_tokens", "added_tokens", "sentencepiece", "spiece")


def inputs(space: SearchSpace) -> dict[str, str]:
    """By the name of each input, what it holds now. Raises `ConfigError` for what is not there."""
    source = loading.locate(space.model, space.root)
    found = {"model": _files(source, tokenizer=False), "tokenizer": _files(source, tokenizer=True)}
    if isinstance(space.teacher, str) and space.teacher != "as_given":
        found["teacher"] = _files(loading.locate(space.teacher, space.root), tokenizer=False)
    for name in named(space):
        found[f"checkpoint {name}"] = _files(loading.checkpoint(name, space.root), tokenizer=False)
    return found | texts(load_texts(space.task, space.search.seed, space.root))


def named(space: SearchSpace) -> list[str]:
    """The checkpoints that recipes of this space may read."""
    return sorted({name for method in _varieties(space) for name in method.checkpoints()})


def reads_unlabelled(space: SearchSpace) -> bool:
    """Whether any recipe of this space may read the texts without labels."""
    return any(method.uses_unlabelled for method in _varieties(space))


def _varieties(space: SearchSpace) -> Iterator[Method]:
    """Every method of its recipes, with each knob by itself at the values that it may have."""
    for each in every_method(space.steps):
        for knob, distribution in each.knobs.items():
            yield from (find(each.name)(**{knob: value}) for value in distribution.extremes)


def texts(read: Texts) -> dict[str, str]:
    """The labels, and of every split how many texts it has and a digest of them and their labels."""
    splits = {"training": read.train, "validation": read.validation, "test": read.test}
    found = {}
    for name, split in splits.items():
        rows = [split.texts, [_named(label, read.labels) for label in split.labels]]
        found[f"{name} texts"] = f"{len(split.labels)} (sha256 {_digest(rows)})"
    more = {"texts without labels": f"{len(read.unlabelled)} (sha256 {_digest(read.unlabelled)})"}
    return {"labels": ", ".join(read.labels)} | found | (more if read.unlabelled else {})


def _named(label: Label, names: Sequence[str]) -> object:
    return [names[number] for number in label] if isinstance(label, list) else names[label]


def check(known: Mapping[str, str], read: Texts) -> None:
    """Raise `ConfigError` if these are not the texts that the study is made of: they may change while it runs.

    `known`: the `inputs` of the study; nothing, if that was not written down.
    """
    now = texts(read)
    then = {name: line for name, line in known.items() if name in now}
    if changes := differences(then, now) if then else []:
        raise ConfigError(
            "task.data: the texts must be those that the study was made with. Got others:\n  "
            + "\n  ".join(changes)
            + "\nRestore them, or start a study of its own: autocompress search SPACE.yaml --study NAME"
        )


def _files(source: str, *, tokenizer: bool) -> str:
    """Those of a checkpoint's tokenizer, or all others. A folder of the hub's cache has its commit for a name."""
    folder = Path(source)
    if folder.parent.name == "snapshots":
        return f"commit {folder.name}"
    files = sorted(file for pattern in FILES for file in folder.glob(pattern))
    chosen = [file for file in files if file.name.startswith(_TOKENIZER) == tokenizer]
    return f"sha256 {_digest([[file.name, sha256(file)] for file in chosen])}"


def _digest(data: object) -> str:
    digest, encoder = hashlib.sha256(), json.JSONEncoder(ensure_ascii=False)
    for piece in encoder.iterencode(data):
        digest.update(piece.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]
