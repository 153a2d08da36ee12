"""Score artefacts, and modules in training, on the study's texts; candidates beside the baseline's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import nn

from autocompress.models.forward import CPU, fetched, forward, placed
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Session
from autocompress.space.goals import Measurement
from autocompress.tasks import finite, guessing
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
        predicted_N = self._predicted(self._baseline())
        self._artefacts.write(_BASELINE, json.dumps(predicted_N.tolist()))
        return self._task.metric_of(predicted_N, self._task.validation.labels)

    def baseline_fault(self) -> str:
        """How the baseline's answers are no better than guessing, or nothing."""
        task, labels_N = self._task, np.array(self._task.validation.labels)
        return guessing.fault(task.settings.metric, self._baseline_answers, labels_N, task.labels)

    def validation(self, session: Session, number: int | None = None) -> Measurement:
        """An artefact's score on the validation split.

        The interval is that of the difference to the baseline on the same texts, added to the baseline's score.
        `number`: of the trial whose answers are kept, to compare other trials with.
        """
        predicted_N, labels = self._predicted(session), self._task.validation.labels
        if number is not None:
            answers.keep(self._artefacts, number, predicted_N, labels)
        low, high = self._task.difference(predicted_N, self._baseline_answers, labels)
        score, baseline = (self._task.metric_of(each, labels) for each in (predicted_N, self._baseline_answers))
        return {"score": score, "score_low": baseline + low, "score_high": baseline + high}

    def test(self, session: Session) -> float:
        """An artefact's score on the test split. Only the final judge asks."""
        test = self._task.test
        return self._task.score(latency.logits(session, test, self._batch_size), test.labels)

    def rung(self, model: nn.Module) -> float:
        """A module's score in the middle of its training, on 200 texts spread evenly over the validation split."""
        return self._of_module(model, self._rung_rows)

    def epoch(self, model: nn.Module) -> float:
        """The same after an epoch of the teacher's, on 1000."""
        return self._of_module(model, self._epoch_rows)

    def _of_module(self, model: nn.Module, rows: list[int]) -> float:
        validation = self._task.validation
        runs = [rows[at : at + _RUNG_BATCH] for at in range(0, len(rows), _RUNG_BATCH)]
        with placed(model, self._device), torch.inference_mode():
            every = [fetched(forward(model, validation.batch(run), frozenset({"logits"})).logits) for run in runs]
        logits_NC = torch.cat(every).float()
        finite.check(logits_NC)
        return self._task.score(logits_NC, [validation.labels[row] for row in rows])

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
    def _baseline_answers(self) -> np.ndarray:
        if (known := self._artefacts.read(_BASELINE)) is None:  # a study of an earlier version
            self.baseline()
            known = self._artefacts.read(_BASELINE)
        return np.array(json.loads(known or "[]"))

    def _predicted(self, session: Session) -> np.ndarray:
        logits_NC = latency.logits(session, self._task.validation, self._batch_size)
        return np.asarray(logits_NC.argmax(-1))
