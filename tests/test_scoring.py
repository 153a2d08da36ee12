"""Scores: texts are asked together where that changes no answer, and one by one where it would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny, toy
from torch import nn

from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.settings import Target, TaskSettings
from autocompress.tasks import kinds
from autocompress.trials import scoring

KIND = kinds.of(TaskSettings(data="none"), ("a", "b", "c"))


def plan(model: nn.Module, activation: str, **more: bool) -> PrecisionPlan:
    linears = [name for name, m in model.bert.encoder.named_modules(prefix="bert.encoder") if isinstance(m, nn.Linear)]
    return PrecisionPlan(dict.fromkeys(linears, Precision("int8", activation, per_channel=True, **more)))


class Counted:
    """A session that knows how many rows it was asked each time."""

    def __init__(self, session: object) -> None:
        self.session, self.rows = session, []

    def run(self, batch: dict) -> np.ndarray:
        self.rows.append(len(batch["input_ids"]))
        return self.session.run(batch)


@pytest.mark.parametrize(
    ("activation", "more", "together"),
    [
        ("float32", {}, True),
        ("dynamic_int8", {"per_token": True}, True),
        ("dynamic_int8", {}, False),
    ],
)
def test_texts_are_asked_together_where_each_is_answered_as_alone(
    activation: str, more: dict, together: bool, tmp_path: Path
) -> None:
    model, texts = tiny(), toy(40)
    plans, runtime, target = plan(model, activation, **more), find_runtime("onnxruntime"), Target(sequence_length=8)
    runtime.lower(model, plans, latency.latency_batch(texts, target), tmp_path)
    session = Counted(runtime.open(tmp_path, target))
    assert plans.row_by_row == together

    alone = np.concatenate([session.session.run(batch) for batch in texts.batches(1)])
    said = scoring.answers(session, plans, KIND, texts, batch_size=1)
    assert said == alone.argmax(-1).tolist()
    assert sum(session.rows) == len(texts)
    assert (max(session.rows) > 1) == together

    seen: dict[int, np.ndarray] = {}
    for run in scoring.alike(texts):
        assert len({len(texts.fields["input_ids"][row]) for row in run}) == 1
        seen |= zip(run, session.session.run(texts.batch(run)), strict=True)
    apart = np.abs(np.stack([seen[row] for row in range(len(texts))]) - alone).max()
    assert (apart < 1e-5) == together


def test_the_targets_own_batches_are_kept() -> None:
    class Zeros:
        def run(self, batch: dict) -> np.ndarray:
            return np.zeros((len(batch["input_ids"]), 3), np.float32)

    session = Counted(Zeros())
    scoring.answers(session, PrecisionPlan(), KIND, toy(40), batch_size=16)
    assert session.rows == [16, 16, 8]


def test_a_batch_of_long_texts_is_small() -> None:
    texts = toy(1).of([0] * 100)
    long = texts.__class__({name: [rows[0] * 34] * 100 for name, rows in texts.fields.items()}, [0] * 100, texts.pad)
    tokens = len(long.fields["input_ids"][0])
    assert {len(run) for run in scoring.alike(long)} <= {512 // tokens, 100 % (512 // tokens)}
