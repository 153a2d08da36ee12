"""Score artefacts, and modules in training, on the study's texts; candidates beside the baseline's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from autocompress.models.forward import CPU, fetched, forward, placed
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Session
from autocompress.space.goals import Measurement
from autocompress.tasks import finite
from autocompress.tasks.kind import Answer
from autocompress.tasks.task import Task
from autocompress.trials import answers
from autocompress.trials.artefacts import Artefacts

_BASELINE = "baseline_answers.json"
_RUNG_TEXTS, _EPOCH_TEXTS, _RUNG_BATCH = 200, 1000, 32


class Scorer:
    """Artefacts are scored in batches of the target's size, as they will be run. Answers are kept with the study."""

    def __init__(
        self, artefacts: Artefacts, task: Task, batch_size: int, baseline: Callable[[], Session],
        device: torch.device = CPU,
    ) -> None:  # fmt: skip
        """`device`: where modules are asked."""
        self._artefacts, self._task, self._device = artefacts, task, device
        self._batch_size = batch_size
        self._baseline = baseline

    def baseline(self) -> float:
        """The baseline's score on the validation split. Its answers are kept, to compare every candidate with."""
        answered = self._answered(self._baseline())
        self._artefacts.write(_BASELINE, json.dumps(answered))
        return self._task.kind.score(answered, self._labels)

    def baseline_fault(self) -> str:
        """How the baseline's answers are no better than guessing, or nothing."""
        return self._task.kind.fault_on(self._baseline_answers, self._labels, self._task.validation)

    def validation(self, session: Session, number: int | None = None) -> Measurement:
        """An artefact's score on the validation split.

        The interval is that of the difference to the baseline on the same texts, added to the baseline's score.
        `number`: of the trial whose answers are kept, to compare other trials with.
        """
        answered, labels = self._answered(session), self._labels
        if number is not None:
            answers.keep(self._artefacts, number, answered, labels, self._task.labels)
        low, high = self._task.difference(answered, self._baseline_answers, labels)
        score, baseline = (self._task.kind.score(each, labels) for each in (answered, self._baseline_answers))
        return {"score": score, "score_low": baseline + low, "score_high": baseline + high}

    def test(self, session: Session) -> float:
        """An artefact's score on the test split. Only the final judge asks."""
        answered = latency.answers(session, self._task.kind, self._task.test, self._batch_size)
        return self._task.kind.score(answered, self._task.texts.test.labels)

    def rung(self, model: nn.Module) -> float:
        """A module's score in the middle of its training, on 200 texts spread evenly over the validation split."""
        return self._of_module(model, self._rung_rows)

    def epoch(self, model: nn.Module) -> float:
        """The same after an epoch of the teacher's, on 1000."""
        return self._of_module(model, self._epoch_rows)

    def _of_module(self, model: nn.Module, rows: list[int]) -> float:
        validation, kind = self._task.validation, self._task.kind
        runs = [rows[at : at + _RUNG_BATCH] for at in range(0, len(rows), _RUNG_BATCH)]
        answered: list[Answer] = []
        broken = 0
        with placed(model, self._device), torch.inference_mode():
            for run in runs:
                batch = validation.batch(run)
                logits = fetched(forward(model, batch, frozenset({"logits"})).logits).float()
                broken += finite.broken(logits)
                answered += kind.answers(logits.numpy(), batch)
        finite.refuse(broken, len(rows))
        return kind.score(answered, [self._labels[row] for row in rows])

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

    def _answered(self, session: Session) -> list[Answer]:
        return latency.answers(session, self._task.kind, self._task.validation, self._batch_size)
