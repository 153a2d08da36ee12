"""OpenVINO carries out what it says: kernels of the graph that runs, bytes of its files, labels of the simulation."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FAMILIES, context, every_family, fresh, tiny, toy
from test_other_models import MODELS, METHODS, model_of
from test_precisions import RECIPES
from torch import nn

from autocompress import measure
from autocompress.context import Context
from autocompress.errors import NotApplicable
from autocompress.examples import inputs
from autocompress.method import find
from autocompress.precision import Precision, PrecisionPlan
from autocompress.runtime import find_runtime
from autocompress.settings import Target
from autocompress.surgery import products

openvino = pytest.importorskip("openvino")
OPENVINO = find_runtime("openvino")
TARGET, TEXTS = Target(runtime="openvino"), toy(200)
PADDED = toy().batch([0, 1, 2, 3, 4])


def lowered(model: nn.Module, steps: list[tuple[str, dict]], folder: Path, ctx: Context) -> nn.Module:
    model = fresh(model)
    for name, knobs in steps:
        model = find(name)(**knobs).apply(model, ctx)
    OPENVINO.support(ctx.precision, TARGET)
    OPENVINO.lower(model, ctx.precision, toy().batch([0]), folder)
    return model


def run(folder: Path) -> np.ndarray:
    session = OPENVINO.open(folder, TARGET)
    return np.concatenate([session.run(batch) for batch in TEXTS.batches(4)])


def torch_logits(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in TEXTS.batches(4)])


def kernels(folder: Path) -> Counter[str]:
    """Of the graph that runs: what each product reads, as "inputs x weights", and each look-up's table."""
    counts: Counter[str] = Counter()
    for node in OPENVINO.open(folder, TARGET).compiled.get_runtime_model().get_ordered_ops():
        read = [source.get_node().get_rt_info()["outputPrecisions"].astype(str) for source in node.input_values()]
        kind = node.get_rt_info()["layerType"].astype(str)
        if kind == "FullyConnected":
            counts[f"{read[0]} x {read[1]}"] += 1
        elif kind == "Gather":
            counts[f"table of {read[0]}"] += 1
    return counts


@every_family
def test_the_artefact_computes_what_the_module_computes(family: str, tmp_path: Path) -> None:
    """In float32, also where the CPU has bfloat16; also for a batch and a length that the exporter did not see."""
    lowered(tiny(family), [], tmp_path, context(tiny(family)))
    np.testing.assert_allclose(run(tmp_path), torch_logits(tiny(family)), atol=1e-4)
