"""Score artefacts, and modules in training, on the study's texts; candidates beside the baseline's answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autocompress.models.forward import CPU, fetched, forward, placed
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Session
from autocompress.space.goals import Measurement
from autocompress.tasks import finite
from autocompress.tasks.dataset import Batch, Examples
from autocompress.tasks.kind import Answer, TaskKind
from autocompress.tasks.task import Task
from autocompress.trials import answers as kept_answers
from autocompress.trials.artefacts import Artefacts

_BASELINE = "baseline_answers.json"
_RUNG_TEXTS, _EPOCH_TEXTS, _RUNG_BATCH = 200, 1000, 32
_BATCH, _BATCH_TOKENS = 32, 512  # of one length


class Scorer:
    """Artefacts are scored as they will be run: in batches of the target's size, or faster where that is the same.

    Texts that will be run one by one are run together with others of their length, so that nothing is padded, where
    the artefact's plan says that each is answered as if it were alone. Answers are kept with the study.
    """

    def __init__(
        self, artefacts: Artefacts, task: Task, batch_size: int, opened: Callable[[Path], Session],
        baseline: Callable[[], Path], device: torch.device = CPU,
    ) -> None:  # fmt: skip
        """`opened`: an artefact, to be asked. `baseline`: its artefact. `device`: where modules are asked."""
        self._artefacts, self._task, self._device = artefacts, task, device
        self._batch_size, self._opened = batch_size, opened
        self._baseline = baseline

    def baseline(self) -> float:
        """The baseline's score on the validation split. Its answers are kept, to compare every candidate with."""
        answered = self._answered(self._baseline(), PrecisionPlan(), self._task.validation)
        self._artefacts.write(_BASELINE, json.dumps(answered))
        return self._task.kind.score(answered, self._labels)

    def baseline_fault(self) -> str:
        """How the baseline's answers are no better than guessing, or nothing."""
        return self._task.kind.fault_on(self._baseline_answers, self._labels, self._task.validation)

    def validation(self, artefact: Path, plan: PrecisionPlan, number: int | None = None) -> Measurement:
        """The score on the validation split of an artefact with this plan.

        The interval is that of the difference to the baseline on the same texts, added to the baseline's score.
        `number`: of the trial whose answers are kept, to compare other trials with.
        """
        answered, labels = self._answered(artefact, plan, self._task.validation), self._labels
        if number is not None:
            kept_answers.keep(self._artefacts, number, answered, labels, self._task.labels)
        low, high = self._task.difference(answered, self._baseline_answers, labels)
        score, baseline = (self._task.kind.score(each, labels) for each in (answered, self._baseline_answers))
        return {"score": score, "score_low": baseline + low, "score_high": baseline + high}

    def test(self, artefact: Path, plan: PrecisionPlan) -> float:
        """The same on the test split, without an interval. Only the final judge asks."""
        answered = self._answered(artefact, plan, self._task.test)
        return self._task.kind.score(answered, self._task.texts.test.labels)

    def rung(self, model: nn.Module) -> float:
        """A module's score in the middle of its training, on 200 texts spread evenly over the validation split."""
        return self._of_module(model, self._rung_rows)

    def epoch(self, model: nn.Module) -> float:
        """The same after an epoch of the teacher's, on 1000."""
        return self._of_module(model, self._epoch_rows)

    def _of_module(self, model: nn.Module, rows: list[int]) -> float:
        def ask(batch: Batch) -> np.ndarray:
            return fetched(forward(model, batch, frozenset({"logits"})).logits).float().numpy()

        validation, kind = self._task.validation, self._task.kind
        runs = [rows[at : at + _RUNG_BATCH] for at in range(0, len(rows), _RUNG_BATCH)]
        with placed(model, self._device), torch.inference_mode():
            answered = _asked(ask, validation, runs, kind)
        return kind.score([answered[row] for row in rows], [self._labels[row] for row in rows])

    @property
    def _labels(self) -> list[Any]:
        return self._task.texts.validation.labels

    @cached_property
    def _rung_rows(self) -> list[int]:
        return self._spread(_RUNG_TEXTS)

    @cached_property
    def _epoch_rows(self) -> list[int]:
        return self._spread(_EPOCH_TEXTS)

    def _spread(self, most: int) -> list[int]:
        """Of like length together, so that little is padded."""
        validation = self._task.validation
        rows = np.unique(np.linspace(0, len(validation) - 1, most).astype(int)).tolist()
        return sorted(rows, key=lambda row: len(validation.fields["input_ids"][row]))

    @cached_property
    def _baseline_answers(self) -> list[Answer]:
        if (known := self._artefacts.read(_BASELINE)) is None:  # a study of an earlier version
            self.baseline()
            known = self._artefacts.read(_BASELINE)
        read: list[Answer] = json.loads(known or "[]")
        return read

    def _answered(self, artefact: Path, plan: PrecisionPlan, examples: Examples) -> list[Answer]:
        return answers(self._opened(artefact), plan, self._task.kind, examples, self._batch_size)


def answers(
    session: Session, plan: PrecisionPlan, kind: TaskKind, examples: Examples, batch_size: int
) -> list[Answer]:  # fmt: skip
    """What an artefact with this plan answers to every row in order, on a target with this batch size."""
    if batch_size > 1 or not plan.row_by_row:
        return latency.answers(session, kind, examples, batch_size)
    answered = _asked(session.run, examples, alike(examples), kind)
    return [answered[row] for row in range(len(examples))]


def _asked(
    ask: Callable[[Batch], np.ndarray], examples: Examples, runs: Sequence[list[int]], kind: TaskKind
) -> dict[int, Answer]:  # fmt: skip
    """The answer to each row of the runs. Raises `NotFinite`."""
    found: dict[int, Answer] = {}
    broken = 0
    for run in runs:
        batch = examples.batch(run)
        logits = ask(batch)
        broken += finite.broken(logits)
        found |= zip(run, kind.answers(logits, batch), strict=True)
    finite.refuse(broken, len(found))
    return found


def alike(examples: Examples) -> list[list[int]]:
    """All rows, in runs of one length each, of no more than 32 rows and, but for single ones, 512 tokens."""
    by_length: dict[int, list[int]] = {}
    for row, tokens in enumerate(examples.fields["input_ids"]):
        by_length.setdefault(len(tokens), []).append(row)
    return [
        rows[at : at + most]
        for length, rows in by_length.items()
        for most in (min(_BATCH, max(1, _BATCH_TOKENS // length)),)
        for at in range(0, len(rows), most)
    ]
