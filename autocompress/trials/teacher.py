"""Which model the teacher and baseline is: a checkpoint as given, if its head fits the labels, else fine-tuned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from autocompress.errors import ConfigError, NotFinite
from autocompress.machine import cache
from autocompress.models import loading, same_tokens
from autocompress.models.forward import fetched, forward, placed
from autocompress.space import keys
from autocompress.space.method import Method, find
from autocompress.space.search_space import SearchSpace
from autocompress.tasks import finite
from autocompress.tasks.dataset import Examples
from autocompress.tasks.kind import Answer, TaskKind
from autocompress.tasks.task import Task

_BATCH = 32
_JUDGED = 1000  # validation texts that a head must answer to be used as it is


class Plan(NamedTuple):
    """Where the teacher begins, how it is fine-tuned (None: not at all), and why, where that is for us to decide."""

    source: str
    training: Method | None
    reason: str = ""


def locate(space: SearchSpace, source: str) -> str:
    """The folder of the checkpoint that the teacher is or starts from; `source` is the model's."""
    if not isinstance(space.teacher, str) or space.teacher == "as_given":
        return source
    with loading.said_of("teacher"):
        return loading.locate(space.teacher, space.root)


def plan(space: SearchSpace, source: str, task: Task, device: torch.device) -> Plan:
    """Decide it; a head is asked on `device`.

    Raises `ConfigError` for a named teacher with other labels or another tokenizer than the model's.
    """
    named, place = space.teacher, locate(space, source)
    if place != source:
        _check_tokens(place, task)
    if isinstance(named, Method):
        return Plan(place, named)
    other = _other_head(place, task)
    if isinstance(named, str):
        if other:
            wanted = f"the labels of this task ({_listed(task.labels)})" if task.labels else task.kind.does
            raise ConfigError(
                f"teacher: {named} should be fine-tuned for {wanted}. "
                f"Got a checkpoint that is not: {other}. Leave `teacher` out, or write `teacher: finetune`, to have "
                "one fine-tuned first; if only the names differ, correct id2label in its config.json."
            )
        return Plan(place, None)
    reason = other or _poor_head(place, task, device)
    return Plan(place, find("finetune").for_teacher({}) if reason else None, reason)


def _other_head(source: str, task: Task) -> str:
    """How the checkpoint's head is not one for this task's labels, or nothing."""
    head, labels = task.kind.head, task.labels
    theirs = loading.head_labels(source, head)
    if theirs is None:
        return f"it has no head for {task.kind.does}"
    if labels and not loading.has_head(source, labels, head):
        return f"its head is for other labels ({_listed(theirs)}) than the data's ({_listed(labels)})"
    return ""


def _poor_head(source: str, task: Task, device: torch.device) -> str:
    """How the head is no better than guessing on validation texts, as far as they are read; or nothing."""

    def judged() -> dict[str, str]:
        validation = task.validation
        rows = np.unique(np.linspace(0, len(validation) - 1, _JUDGED).astype(int)).tolist()
        model = loading.load_model(source, task.labels, task.kind.head).eval()
        answered = _answered(model, validation.of(rows), source, task.kind, device)
        labels = [task.texts.validation.labels[row] for row in rows]
        return {"fault": task.kind.fault_on(answered, labels, validation.of(rows))}

    key = keys.head(loading.identity(source), task.fingerprint, task.settings.metric)
    found: str = cache.value("heads", key, judged)["fault"]
    return found and f"its head is no better than guessing: {found}"


def finite_logits(model: nn.Module, examples: Examples, source: str, device: torch.device) -> Tensor:
    """(N, C) in the rows' order, asked on `device`.

    Raises `ConfigError`, naming the checkpoint, if they are no finite numbers.
    """
    found = list(_logits(model, examples, source, device))
    rows = [row for run, _ in found for row in run]
    return torch.cat([logits for _, logits in found])[torch.tensor(rows).argsort()].contiguous()


def check_finite(model: nn.Module, examples: Examples, source: str, device: torch.device) -> None:
    """Raise `ConfigError`, naming the checkpoint, if it does not answer with finite numbers."""
    for _ in _logits(model, examples, source, device):
        pass


def _answered(model: nn.Module, examples: Examples, source: str, kind: TaskKind, device: torch.device) -> list[Answer]:
    """In the rows' order."""
    found: dict[int, Answer] = {}
    for run, logits in _logits(model, examples, source, device):
        found |= zip(run, kind.answers(logits.numpy(), examples.batch(run)), strict=True)
    return [found[row] for row in range(len(examples))]


def _logits(
    model: nn.Module, examples: Examples, source: str, device: torch.device
) -> Iterator[tuple[list[int], Tensor]]:
    """Rows of like length together, so that little is padded, and their logits (B, ...)."""
    length = [len(row) for row in examples.fields["input_ids"]]
    order = sorted(range(len(examples)), key=lambda row: length[row])
    broken = 0
    for at in range(0, len(order), _BATCH):
        run = order[at : at + _BATCH]
        with placed(model, device), torch.no_grad():
            logits = fetched(forward(model, examples.batch(run), frozenset({"logits"})).logits).float()
        broken += finite.broken(logits)
        yield run, logits
    try:
        finite.refuse(broken, len(examples))
    except NotFinite as e:
        raise not_finite(source, e) from e


def guesses(plan: Plan, fault: str) -> ConfigError:
    """The sentence for a baseline that is no better than guessing: what it may be."""
    if plan.training:
        knobs = ", ".join(f"{k} {v}" for k, v in plan.training.model_dump(include={"epochs", "lr"}).items())
        how = f"fine-tuned with {knobs}"
        advice = "More epochs, or auto, or another lr may help; else the labels may not belong to the texts."
    else:
        how = "as given"
        advice = (
            "The rows of its head may stand for the labels in another order, it may have been trained for another "
            "task, with another tokenizer, or not at all. Correct that, or write `teacher: finetune`."
        )
    return ConfigError(
        f"teacher: the baseline must be better than guessing. Got {plan.source!r} {how}: {fault}. {advice}"
    )


def not_finite(source: str, error: NotFinite) -> ConfigError:
    """The sentence for a baseline that answers with no numbers."""
    return ConfigError(
        f"model: a checkpoint must answer with finite numbers. Got {source!r}: {error}. "
        "Its weights may hold NaN, or overflow: save a sound checkpoint."
    )


def _check_tokens(place: str, task: Task) -> None:
    with loading.said_of("teacher"):
        theirs = loading.load_tokenizer(place)
    types = loading.limits(place, task.tokenizer).types
    if difference := same_tokens.difference(task.tokenizer, theirs, task, pair_types=types is not None and types > 1):
        raise ConfigError(
            f"teacher: its tokenizer must give the same numbers as the model's. Got {place!r}: {difference}. "
            "Take a teacher with the model's own vocabulary, or write `teacher: finetune`."
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", ... {len(names)} in all" if len(names) > 8 else "")
