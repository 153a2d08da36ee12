"""What `precisions` measures: recipes on two models, with texts to run, and float32 on ONNX Runtime to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from autocompress.methods.context import Teacher
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Session, find_runtime
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import Target
from autocompress.space.stored_space import plain
from autocompress.tasks.dataset import Batch, Examples
from autocompress.trials.bench import Bench
from autocompress.trials.job import StudyData

ROOT = Path(__file__).parent.parent
LENGTHS, BATCH = (32, 128), 8  # tokens; texts
_ONE_EPOCH: tuple[str, dict[str, Any]] = ("finetune", {"epochs": 1, "lr": 1e-4})
_THREE_EPOCHS: tuple[str, dict[str, Any]] = ("finetune", {"epochs": 3, "lr": 3e-4})
RECIPES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "float32": [],
    "half float16": [("half", {})],
    "half bfloat16": [("half", {"dtype": "bfloat16"})],
    "int8_dynamic": [("int8_dynamic", {})],
    "int8_dynamic, one scale for all weights": [("int8_dynamic", {"per_channel": False})],
    "int8_dynamic, one scale a batch": [("int8_dynamic", {"per_token": False})],
    "int8_dynamic, exclude first_last": [("int8_dynamic", {"exclude": "first_last"})],
    "int8_static minmax": [("int8_static", {"smooth": 0.0})],
    "int8_static minmax, smooth 0.5": [("int8_static", {"smooth": 0.5})],
    "int8_static percentile": [("int8_static", {"smooth": 0.0, "observer": "percentile"})],
    "int8_static entropy": [("int8_static", {"smooth": 0.0, "observer": "entropy"})],
    "qat, 1 epoch": [("qat", {}), _ONE_EPOCH],
    "mixed_precision, drop 0.01": [("mixed_precision", {"drop": 0.01})],
    "weight_only 8 rtn": [("weight_only", {"bits": 8, "algorithm": "rtn"})],
    "weight_only 4 rtn": [("weight_only", {"bits": 4, "algorithm": "rtn"})],
    "weight_only 4 awq": [("weight_only", {"bits": 4, "algorithm": "awq"})],
    "weight_only 4 gptq": [("weight_only", {"bits": 4, "algorithm": "gptq"})],
    "weight_only 4 gptq, groups of 128": [("weight_only", {"bits": 4, "group_size": 128})],
    "embedding 8": [("embedding", {"bits": 8})],
    "embedding 4": [("embedding", {"bits": 4})],
    "heads 0.5 + neurons 0.5": [("heads", {}), ("neurons", {})],
    "heads 0.5 + neurons 0.5 + int8_dynamic": [("heads", {}), ("neurons", {}), ("int8_dynamic", {})],
    "low_rank 0.5, 3 epochs": [("low_rank", {}), _THREE_EPOCHS],
    "low_rank 0.5, 3 epochs + int8_dynamic": [("low_rank", {}), _THREE_EPOCHS, ("int8_dynamic", {})],
}
NEEDS_TRAINING = (  # or a score, and random weights have none
    "qat, 1 epoch", "mixed_precision, drop 0.01", "low_rank 0.5, 3 epochs", "low_rank 0.5, 3 epochs + int8_dynamic",
)  # fmt: skip
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
    def texts(self) -> dict[int, Batch]:
        """One of each length."""
        return {n: latency.latency_batch(self.validation, Target(sequence_length=n)) for n in LENGTHS}

    @cached_property
    def reference(self) -> Session:
        """Float32 on ONNX Runtime."""
        runtime = find_runtime("onnxruntime")
        runtime.lower(self.teacher.model, PrecisionPlan(), self.texts[LENGTHS[-1]], self.folder / "reference")
        return runtime.open(self.folder / "reference", Target())

    @cached_property
    def reference_ms(self) -> dict[int, float]:
        return {n: latency.absolute_latency(self.reference, text, Target()) for n, text in self.texts.items()}

    @cached_property
    def reference_NC(self) -> np.ndarray:
        return np.concatenate([self.reference.run(batch) for batch in self.validation.batches(BATCH)])


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


def quickstart(folder: Path) -> Bench:
    """The workbench of a study of search_spaces/quickstart.yaml."""
    (folder / "space.yaml").write_text((ROOT / "search_spaces" / "quickstart.yaml").read_text())
    space = SearchSpace.load(folder / "space.yaml", root=ROOT)
    return Bench(StudyData("precisions", plain(space), str(ROOT), str(folder)))


MODELS: dict[str, Callable[[Path], Subject]] = {"minilm": minilm, "bert-base": bert_base}
