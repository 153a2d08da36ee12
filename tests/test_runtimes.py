"""What a method did to the module must show in the file that ships."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import FAMILIES, context, every_family, tiny, toy, usual
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import Method, find, methods
from autocompress.space.recipe import Recipe
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

PADDED = toy().batch([0, 1, 2, 3, 4])  # texts of 6 to 10 tokens
TARGET = Target()
ONNX = find_runtime("onnxruntime")


def logits(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return model(**inputs(PADDED)).logits.numpy()


def lowered(family: str, steps: Recipe, folder: Path) -> tuple[nn.Module, PrecisionPlan, onnx.ModelProto]:
    model, ctx = tiny(family), context(tiny(family))
    for method in steps:
        model = method.apply(model, ctx)
    ONNX.lower(model, ctx.precision, toy().batch([0]), folder)
    return model, ctx.precision, onnx.load(ONNX.artefact(folder))


@every_family
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_the_artefact_computes_what_the_module_computes(runtime: str, family: str, tmp_path: Path) -> None:
    """Also for a batch and a length that the exporter did not see, with padding."""
    model, chosen = tiny(family), find_runtime(runtime)
    chosen.lower(model, PrecisionPlan(), toy().batch([0]), tmp_path)
    np.testing.assert_allclose(chosen.open(tmp_path, TARGET).run(PADDED), logits(model), atol=1e-4)


STRUCTURAL = [m for name, m in methods().items() if not m.values_only and name != "tied_embeddings"]  # which writes


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[onnx.ModelProto, int]]:
    """The graph of each family before anything is done to it, and the bytes of its file."""
    found = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        found[family] = lowered(family, Recipe(), folder)[2], ONNX.artefact(folder).stat().st_size
    return found


@every_family
@pytest.mark.parametrize("method", STRUCTURAL, ids=lambda m: m.name)
def test_the_file_shows_what_the_method_did(
    method: type[Method], family: str, tmp_path: Path, dense: dict[str, tuple[onnx.ModelProto, int]]
) -> None:
    before, size = dense[family]
    steps = [usual(method), find("finetune")(epochs=1)] if method.pending else [usual(method)]
    model, _, after = lowered(family, Recipe(steps), tmp_path / "after")
    weights = [sorted(tuple(t.dims) for t in graph.graph.initializer if len(t.dims) > 1) for graph in (before, after)]
    assert weights[0] != weights[1] or operators(before) != operators(after)
    if "bytes" in method.pays:
        assert ONNX.artefact(tmp_path / "after").stat().st_size < size
    ran = ONNX.open(tmp_path / "after", TARGET).run(PADDED)
    np.testing.assert_allclose(ran, logits(model), atol=0.3 if method.stage == "lower" else 1e-4)


@every_family
def test_int8_reaches_every_planned_layer(family: str, tmp_path: Path) -> None:
    model, plan, graph = lowered(family, Recipe([find("low_rank")(), find("int8_dynamic")()]), tmp_path)
    linear = sum(isinstance(m, nn.Linear) for m in model.modules())
    assert operators(graph)["MatMulIntegerToFloat"] == linear
    eight_bits = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    assert sum(t.data_type in eight_bits and len(t.dims) == 2 for t in graph.graph.initializer) == linear + 1
    assert operators(graph)["QuantizeLinear"] < linear, "query, key and value share their rounded input"
    assert len(plan) == linear + 1, "and the embedding table"


def test_excluded_layers_stay_in_float32(tmp_path: Path) -> None:
    without = find("int8_dynamic")(exclude="classifier", embeddings=False)
    _, plan, graph = lowered("bert", Recipe([without]), tmp_path)
    assert operators(graph)["MatMulIntegerToFloat"] == len(plan) == 4 * 6, (
        "four layers of six; pooler and classifier are the head"
    )
    assert any(t.data_type == onnx.TensorProto.FLOAT and 60 in t.dims for t in graph.graph.initializer)


def test_a_scale_a_channel_or_one_for_all(tmp_path: Path) -> None:
    for per_channel in (True, False):
        _, _, graph = lowered(
            "bert", Recipe([find("int8_dynamic")(per_channel=per_channel)]), tmp_path / str(per_channel)
        )
        sizes = {t.name: t.dims[0] for t in graph.graph.initializer if len(t.dims) == 1}
        scales = [sizes[node.input[3]] for node in graph.graph.node if node.op_type == "MatMulIntegerToFloat"]
        assert max(scales) == (64 if per_channel else 1), "the widest layer has 64 outputs"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_a_device_that_is_not_there_is_refused(runtime: str) -> None:
    with pytest.raises(NotApplicable, match=r"target\.device is cuda"):
        find_runtime(runtime).support(PrecisionPlan(), Target(device="cuda"))


class OnCpu(onnxruntime.InferenceSession):
    """What onnxruntime makes where the libraries of a GPU cannot be loaded: a session on the CPU, without a word."""

    def __init__(self, path: Path, options: Any, providers: list[str]) -> None:
        assert providers == ["CUDAExecutionProvider"]
        super().__init__(path, options, providers=["CPUExecutionProvider"])


def test_a_gpu_that_falls_back_to_the_cpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = find_runtime("onnxruntime")
    runtime.lower(tiny(), PrecisionPlan(), toy().batch([0]), tmp_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCpu)
    with pytest.raises(NotApplicable) as error:
        runtime.open(tmp_path, Target(device="cuda"))
    assert str(error.value) == (
        "target.device is cuda, but onnxruntime runs the model with CPUExecutionProvider, because its "
        "CUDAExecutionProvider could not be loaded. Install the CUDA and cuDNN that this onnxruntime was built for, or "
        "write device: cpu"
    )


def operators(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


@pytest.mark.parametrize("lowering", [(), ("int8_dynamic",), ("weight_only",)], ids="+".join)
def test_what_layers_share_is_stored_once(lowering: tuple[str, ...], tmp_path: Path) -> None:
    """In float32 and rounded."""
    after = [find(name)() for name in lowering]
    _, _, whole = lowered("bert", Recipe(after), tmp_path / "whole")
    model, plan, graph = lowered("bert", Recipe([find("cross_layer")(groups=1), *after]), tmp_path / "shared")
    sizes = [sum(len(t.raw_data) for t in g.graph.initializer if len(t.dims) > 1) for g in (whole, graph)]
    assert sizes[1] < 0.5 * sizes[0]
    ran = ONNX.open(tmp_path / "shared", TARGET).run(PADDED)
    np.testing.assert_allclose(ran, logits(model), atol=0.3 if plan else 1e-4)
