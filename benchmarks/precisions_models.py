"""What `precisions` measures: two models with texts to run them on, and float32 on ONNX Runtime to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from autocompress import measure
from autocompress.context import Teacher
from autocompress.examples import Batch, Examples
from autocompress.precision import PrecisionPlan
from autocompress.runtime import Session, find_runtime
from autocompress.settings import Target
from autocompress.workbench import Workbench

ROOT = Path(__file__).parent.parent
TOKENS, BATCH = 128, 8
_FEW = 64  # texts


@dataclass(frozen=True)
class Subject:
    """A model, the texts to run it on, and a folder to work in."""

    teacher: Teacher
    calibration: list[Batch]
    train: Examples | None  # None: its weights are random
    validation: Examples
    folder: Path

    @cached_property
    def batch(self) -> Batch:
        return measure.latency_batch(self.validation, Target(sequence_length=TOKENS))

    @cached_property
    def reference(self) -> Session:
        """Float32 on ONNX Runtime."""
        runtime = find_runtime("onnxruntime")
        runtime.lower(self.teacher.model, PrecisionPlan(), self.batch, self.folder / "reference")
        return runtime.open(self.folder / "reference", Target(sequence_length=TOKENS))

    @cached_property
    def reference_NC(self) -> np.ndarray:
        return measure.logits(self.reference, self.validation, BATCH)


def minilm(folder: Path) -> Subject:
    """The teacher of search_spaces/quickstart.yaml and its texts."""
    bench = quickstart(folder)
    bench.teach(lambda *_: None)
    return Subject(bench.teacher, bench.calibration, bench.task.train, bench.task.validation, folder)


def bert_base(folder: Path) -> Subject:
    """The shape of BERT-base, with random weights: its speed, its bytes and its rounding, but no labels to speak of."""
    bench = quickstart(folder)
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=len(bench.task.labels))).eval()
    return Subject(Teacher(lambda: model), bench.calibration[:1], None, bench.task.validation.head(_FEW), folder)


def quickstart(folder: Path) -> Workbench:
    """The workbench of a study of search_spaces/quickstart.yaml."""
    (folder / "space.yaml").write_text((ROOT / "search_spaces" / "quickstart.yaml").read_text())
    (folder / "study.json").write_text(json.dumps({"root": str(ROOT)}))
    return Workbench(folder)


MODELS: dict[str, Callable[[Path], Subject]] = {"minilm": minilm, "bert-base": bert_base}
