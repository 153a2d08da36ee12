"""Tiny random models of every family and a task they can learn in a second. No network, no mocks of torch."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from lives import Lives
from tiny_project import make_project
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from autocompress.engine import run
from autocompress.machine.instructions import has_vnni, is_x86
from autocompress.methods.context import Context, Teacher
from autocompress.runtimes import isolated, latency
from autocompress.space.method import Method
from autocompress.space.settings import Target
from autocompress.study import Study
from autocompress.tasks.dataset import Corpus, Examples
from autocompress.trials import work

# said once a process on some CPUs; what a search says elsewhere is compared whole
os.environ.setdefault("PYTHONWARNINGS", "ignore:this CPU has no VNNI")
exact_int8 = pytest.mark.skipif(
    is_x86() and not has_vnni(), reason="without VNNI int8 weights keep to 7 bits: other codes"
)

# more cores than one make tiny matrices slower, and other tests run beside these
torch.set_num_threads(1)

_SHAPE = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 40, "num_labels": 3,
}  # fmt: skip


def _bert(config: type, model: type) -> nn.Module:
    return model(config(**_SHAPE))


def _distilbert() -> nn.Module:
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    names["intermediate_size"] = "hidden_dim"
    return DistilBertForSequenceClassification(DistilBertConfig(**{names.get(k, k): v for k, v in _SHAPE.items()}))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: _bert(BertConfig, BertForSequenceClassification),
    "roberta": lambda: _bert(RobertaConfig, RobertaForSequenceClassification),
    "xlm-roberta": lambda: _bert(XLMRobertaConfig, XLMRobertaForSequenceClassification),
    "distilbert": _distilbert,
}

every_family = pytest.mark.parametrize("family", FAMILIES)


def tiny(family: str = "bert") -> nn.Module:
    """4 layers x 32, 4 heads of 8, 64 neurons, 3 classes; the same weights every time."""
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for p in model.parameters():  # as made, the layers change next to nothing and biases are zero
            p.add_(0.1 * torch.randn_like(p))
    return model


def toy(count: int = 96) -> Examples:
    """Texts of 6 to 12 tokens; the label says which of the tokens 7, 8, 9 occurs."""
    rng = torch.Generator().manual_seed(0)
    rows, labels = [], []
    for i in range(count):
        row = torch.randint(10, 60, (6 + i % 7,), generator=rng).tolist()
        labels.append(int(torch.randint(3, (1,), generator=rng)))
        row[0], row[1 + i % 4] = 2, 7 + labels[-1]
        rows.append(row)
    fields = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return Examples(fields, labels, pad={"input_ids": 1, "attention_mask": 0})


def context(teacher: nn.Module, *, train: bool = True, **more: Any) -> Context:
    """A real run's context, or a rehearsal's with `train=False`."""
    texts = toy()
    calibration = list(texts.head(32).batches(16))
    more.setdefault("load", lambda name: copy.deepcopy(teacher))
    more.setdefault("cost", lambda model: float(sum(p.numel() for p in model.parameters())))
    more.setdefault("corpus", lambda: Corpus.of(texts, 60, [0, 1, 2], 3))
    return Context(Teacher(lambda: teacher), calibration, Target(), texts if train else None, **more)


# where a default is for models a hundred times as large as those here
KNOBS: dict[str, dict[str, Any]] = {
    "factorized_embedding": {"width": 4}, "tensor_train": {"rank": 1}, "sliding_window": {"window": 2},
    "block_sparse": {"block": 2, "drawn": 1}, "nystrom": {"landmarks": 2}, "sequence_length": {"percentile": 25.0},
    "student": {"width": 16}, "vocabulary": {"min_count": 12}, "kronecker": {"scope": "all"},
    "codebook": {"bits": 2, "scope": "all"}, "assistant": {"epochs": 1}, "ensemble": {"teachers": ("other",)},
}  # fmt: skip


def usual(method: type[Method]) -> Method:
    """The method as it acts on a tiny model."""
    return method(**KNOBS.get(method.name, {}))


def fresh(model: nn.Module) -> nn.Module:
    """A copy that a method may change."""
    return copy.deepcopy(model)


_REPORT, ATTRIBUTE = Study._report_at_the_end, run._attribute


@pytest.fixture(scope="session", autouse=True)
def _no_reports() -> Iterator[None]:
    """Searches in this process write none at their end: to load what draws takes seconds. See `reporting`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "_report_at_the_end", lambda *asked: None)
        patch.setattr(run, "_attribute", lambda *asked: None)
        yield


def reporting(patch: pytest.MonkeyPatch) -> None:
    """They do, as they do for a person."""
    patch.setattr(Study, "_report_at_the_end", _REPORT)
    patch.setattr(run, "_attribute", ATTRIBUTE)


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for all tests: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(scope="session")
def lives(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Lives]:
    """Searches in processes that a test may kill; what they are forked from is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        made = Lives(tmp_path_factory.mktemp("lives"))
    with closing(made):
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_uri: str) -> Path:
    """The folder of a project for them, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    return make_project(tmp_path).parent


def compute_latency(patch: pytest.MonkeyPatch) -> None:
    """In place of measuring it."""
    ratios = {"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "latency_tail": 1.2, "latency_runs": 9.0}
    patch.setattr(latency, "latency", lambda *a, **k: dict(ratios))
    patch.setattr(latency, "absolute_latency", lambda *a, **k: 3.0)
    patch.setattr(isolated, "latency", lambda *a, **k: dict(ratios))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_uri: str) -> Iterator[Path]:
    """The space of a project in the current folder, with a cache of its own and a latency that is computed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    compute_latency(monkeypatch)
    yield make_project(tmp_path)
    work.loaded.cache_clear()


def codes_apart(one: torch.Tensor, other: torch.Tensor, scale: torch.Tensor) -> int:
    """How many numbers are not the same code times `scale`."""
    return int(((one - other).abs() > scale / 2).sum())
