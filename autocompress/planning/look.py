"""A look at a model and at data: what a first space is proposed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from autocompress.models import loading
from autocompress.models.families.places import stacks
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.planning.untaught import untaught
from autocompress.profiling.profile import Profile
from autocompress.profiling.subject import Subject
from autocompress.space.search_space import SearchSpace
from autocompress.tasks.task import Task

_LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
_READ, _USUAL = 0.98, 0.75  # shares of texts that are read whole, and that are no longer than what latency is timed on
_UNEVEN = 2.0  # times its fair share: from there on accuracy says little about rare labels


class Look(NamedTuple):
    """What was seen."""

    family: str
    layers: int
    width: int
    profile: Profile
    labels: tuple[str, ...]
    largest: float  # the share of the commonest label
    rows: dict[str, int]
    tokens: dict[str, int]  # of a training text: the median, and what 98 % keep to
    max_length: int  # to read nearly all texts whole
    sequence_length: int  # of a usual text

    @property
    def uneven(self) -> bool:
        """Whether some labels are much rarer than others."""
        return bool(self.labels) and self.largest * len(self.labels) > _UNEVEN

    def bytes_of(self, kind: str) -> float:
        """The share of the model's bytes in layers of a kind."""
        return next((row.bytes / self.profile.all.bytes for row in self.profile.kinds if row.kind == kind), 0.0)

    def time_of(self, kind: str) -> float:
        """The share of its latency."""
        return next((row.share or 0.0 for row in self.profile.kinds if row.kind == kind), 0.0)


def look(sections: dict[str, Any], root: Path, say: Callable[[str], None]) -> Look:
    """`sections` of a space: its model, task and target. Texts are read as far as the model can.

    Raises `ConfigError` for what cannot be used.
    """
    longest = _readable(sections["model"], root)
    task = sections["task"] | {"max_length": longest}
    with untaught(
        SearchSpace.parse({**sections, "task": task, "steps": ["finetune"]}, root=root, where=lambda place: "init")
    ) as bench:
        say("reading the texts")
        space, task = bench.space, bench.task
        tokens = np.array([len(row) for row in task.train.fields["input_ids"]])
        most = _fitting(np.quantile(tokens, _READ), longest)
        usual = _fitting(np.quantile(tokens, _USUAL), most)
        say("profiling the model")
        model = bench.teacher.model.eval()
        target = space.target.model_copy(update={"sequence_length": usual})
        seen = Subject(space.model, model, PrecisionPlan(), task.tokenizer, target, None).profile()
        config: Any = model.config
        return Look(
            family=config.model_type, layers=_layers(model),
            width=getattr(config, "hidden_size", 0), profile=seen, labels=task.labels, largest=_largest(task),
            rows=task.texts.rows, tokens={"median": int(np.median(tokens)), "98 %": int(np.quantile(tokens, _READ))},
            max_length=most, sequence_length=usual,
        )  # fmt: skip


def _layers(model: nn.Module) -> int:
    found: list[Any] = [model.get_submodule(path) for path in stacks(model)]
    return sum(map(len, found))


def _readable(model: str, root: Path) -> int:
    """How many tokens the model reads, or as many as a text may have at all."""
    source = loading.locate(model, root)
    tokenizer = loading.load_tokenizer(source)
    return min(loading.limits(source, tokenizer).tokens or _LENGTHS[-1], int(tokenizer.model_max_length), _LENGTHS[-1])


def _fitting(wanted: float, most: int) -> int:
    """The least usual length that holds so many tokens."""
    return min(next((length for length in _LENGTHS if length >= wanted), _LENGTHS[-1]), most)


def _largest(task: Task) -> float:
    if not task.labels:
        return 0.0
    counts = Counter(number for label in task.texts.train.labels for number in task.kind.numbers(label))
    return max(counts.values()) / sum(counts.values())
