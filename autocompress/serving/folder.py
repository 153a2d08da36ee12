"""What an exported folder says of itself: serving.json, how to run it, and measurement.json, what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from autocompress.errors import ConfigError, short
from autocompress.space.goals import Measurement
from autocompress.space.recipe import digest
from autocompress.space.settings import Settings, Target, TaskSettings, find_task_kind
from autocompress.tasks import kinds
from autocompress.tasks.kind import Label, Row, TaskKind

FORMAT = 1  # of the folder as a whole: a later version reads this one too
SERVING, MEASURED = "serving.json", "measurement.json"
_LARGEST = 16_000_000  # bytes: this is read before anything else was looked at


Token = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


class Scored(Settings):
    """A digest of each split that was scored: a score is compared on the same texts only."""

    validation: str
    test: str


class Serving(Settings):
    """What a pipeline needs besides the model, and what `verify` needs to find the texts again.

    `inputs`: what the model reads, and what fills each beyond a text's end. The first folders of format 1 lack it.
    """

    format: Literal[1] = 1
    target: Target
    task: TaskSettings
    labels: tuple[str, ...]
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    texts: Scored
    inputs: dict[Literal["input_ids", "attention_mask", "token_type_ids"], Token] | None = None

    @field_validator("labels")
    @classmethod
    def _are_two(cls, labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Or none, for a kind of task without labels."""
        task = info.data.get("task")
        if len(labels) < 2 and not (task and not find_task_kind(task.kind).labelled):
            raise ValueError(f"Tuple should have at least 2 items after validation, not {len(labels)}")
        return labels

    @property
    def kind(self) -> TaskKind:
        """How texts are read and answered."""
        return kinds.of(self.task, self.labels)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a table of texts to classify calls them: `text`; the task's own names where they are two."""
        return self.task.text if len(self.task.text) > 1 else ("text",)


class Measured(Settings):
    """The trial's figures, the baseline's, and where they were taken.

    `isolated`: whether its latency was measured in a process of its own. The first folders of format 1 do not say.
    """

    trial: Measurement
    baseline: Measurement
    metric: str
    target: Target
    machine: dict[str, str]
    versions: dict[str, str]
    runtime: dict[str, Any]
    isolated: bool = False


def digest_of(texts: Sequence[Row], labels: Sequence[Label], kind: TaskKind) -> str:
    """Equal digests, the same labelled texts in any order. `kind` knows the labels' names."""
    rows = zip(texts, labels, strict=True)
    return digest(sorted([*row, *(kind.labels[n] for n in kind.numbers(label))] for row, label in rows))


def read_serving(folder: Path) -> Serving:
    """Raises `ConfigError` if `folder` is no exported model, or one of a later format."""
    file = folder / SERVING
    if not file.is_file():
        raise ConfigError(
            f"{folder}: there is no exported model here. `autocompress export STUDY --to {folder}` makes one."
        )
    found = _object(file)
    if (given := found.get("format")) != FORMAT:
        raise ConfigError(
            f"{file}: this version reads format {FORMAT}. Got {short(given)}. Install a newer autocompress."
        )
    return _checked(Serving, found, file)


def read_measured(folder: Path) -> Measured:
    """Raises `ConfigError` if the file is missing or holds something else."""
    file = folder / MEASURED
    if not file.is_file():
        raise ConfigError(f"{file}: it should hold what was measured. There is no such file. Export the model again.")
    return _checked(Measured, _object(file), file)


Read = TypeVar("Read", bound=Settings)


def _checked(kind: type[Read], found: dict[str, Any], file: Path) -> Read:
    try:
        return kind(**found)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise ConfigError(f"{file}: {where}: {said}. Got {short(first['input'])}. Export the model again.") from None


def _object(file: Path) -> dict[str, Any]:
    try:
        read = not file.is_symlink() and file.stat().st_size <= _LARGEST
        found = json.loads(file.read_text("utf-8")) if read else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: it should hold a JSON object. Got something else. Export the model again.")
    return found
