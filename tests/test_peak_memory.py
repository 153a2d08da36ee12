"""The memory to run an artefact, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import toy
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from autocompress.errors import ConfigError, Unmeasured
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import peak_memory
from autocompress.runtimes.latency import latency_batch
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.settings import Target

B, T = 3, 12
TARGET = Target(batch_size=B, sequence_length=T)


def wide(vocabulary: int) -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64
    )
    return BertForSequenceClassification(config).eval()


def needed(runtime: str, model: nn.Module, folder: Path) -> float:
    target = Target(runtime=runtime, batch_size=B, sequence_length=T)
    batch = latency_batch(toy(), target)
    find_runtime(runtime).lower(model, PrecisionPlan(), batch, folder)
    return peak_memory.peak_memory_mb(folder, batch, target)


def test_memory_is_the_artefacts_and_not_the_runtimes(tmp_path: Path) -> None:
    small = needed("onnxruntime", wide(100), tmp_path / "small")
    large = needed("onnxruntime", wide(200_100), tmp_path / "large")
    added = 200_000 * 64 * 4 / 1e6  # 51 MB of weights
    assert 0 < small < 10
    assert added < large - small < 2.2 * added  # while it is opened, its file is held beside its weights


def test_torch_runs_in_a_process_of_its_own_too(tmp_path: Path) -> None:
    assert 0 < needed("torch", wide(100), tmp_path) < 10


def test_an_artefact_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    batch = latency_batch(toy(), TARGET)
    with pytest.raises(Unmeasured, match=r"^peak_memory_mb could not be measured: .*model\.onnx"):
        peak_memory.peak_memory_mb(tmp_path, batch, TARGET)


def test_the_gpus_memory_is_torchs_to_tell(tmp_path: Path) -> None:
    target = Target(device="cuda")
    with pytest.raises(ConfigError) as caught:
        peak_memory.peak_memory_mb(tmp_path, latency_batch(toy(), target), target)
    assert str(caught.value) == (
        "peak_memory_mb: on cuda it can be measured for the torch runtime only. "
        "Got target.runtime onnxruntime. Leave it out of objectives and constraints, or use torch."
    )
