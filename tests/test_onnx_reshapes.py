"""Reshapes get constant shapes, and the graph computes what it did, for batches and lengths that nobody foresaw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import FAMILIES, tiny, toy
from onnx import ModelProto, helper
from test_other_models import MODELS, model_of

from autocompress.runtimes import onnx_export, onnx_reshapes


@pytest.mark.parametrize("kind", [*FAMILIES, *MODELS])
def test_what_worked_shapes_out_is_gone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graphs = (model_of(kind) if kind in MODELS else tiny(kind)).eval(), []
    for simplify in (lambda graph: graph, onnx_reshapes.simplify):
        monkeypatch.setattr(onnx_export, "simplify", simplify)
        onnx_export.export(model, toy().batch([0]), tmp_path / "model.onnx")
        graphs.append(onnx.load(tmp_path / "model.onnx"))
    assert len(graphs[1].graph.node) < len(graphs[0].graph.node)
    assert computed_shapes(graphs[1]) < max(1, computed_shapes(graphs[0]) / 2)
    sessions = [onnxruntime.InferenceSession(graph.SerializeToString()) for graph in graphs]
    for texts, tokens in ((1, 5), (3, 1), (4, 4), (5, 17)):
        ids = torch.randint(3, 60, (texts, tokens)).numpy()
        ids[:, -1] = 2  # the end, which T5 looks for
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        before, after = (s.run(None, {i.name: fed[i.name] for i in s.get_inputs()})[0] for s in sessions)
        np.testing.assert_allclose(after, before, atol=1e-5)


def computed_shapes(model: ModelProto) -> int:
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    return sum(node.op_type == "Reshape" and node.input[1] not in constants for node in model.graph.node)


SHAPES = {  # what a reshape reads, makes -> how that is said
    "heads": (["batch", "tokens", 64], ["batch", "tokens", 4, 16], [0, 0, 4, 16]),
    "one axis that is elsewhere": (["batch", "tokens", 64], ["tokens", "batch", 64], None),
    "one that is left over": (["batch", "tokens", 64], ["batch*tokens", 64], [-1, 64]),
    "no known shape": (None, ["batch", 64], None),
    "an axis of no numbers, which 0 does not say": (["batch", 0], ["batch", 0, 4], None),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_shape_is_said_without_sizes_of_run_time(case: str) -> None:
    before, after, said = SHAPES[case]
    shapes = {"before": before, "after": after} if before else {"after": after}
    node = helper.make_node("Reshape", ["before", "shape"], ["after"])
    assert onnx_reshapes.constant_shape(node, shapes) == said


def test_a_graph_that_the_tool_gives_up_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def give_up(tool: object) -> None:
        raise AssertionError("cannot broadcast")

    monkeypatch.setattr(onnx_reshapes.SymbolicShapeInference, "_infer_impl", give_up)
    onnx_export.export(tiny(), toy().batch([0]), tmp_path / "model.onnx")
    assert computed_shapes(onnx.load(tmp_path / "model.onnx")) > 20
