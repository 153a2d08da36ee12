"""Reshapes get constant shapes, and the graph computes what it did, for batches and lengths that nobody foresaw."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import FAMILIES, tiny, toy
from onnx import ModelProto, helper
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
from test_other_models import MODELS, model_of
from torch import Tensor, nn

from autocompress.runtimes.onnx import export, reshapes
from autocompress.tasks.dataset import inputs


@pytest.mark.parametrize("kind", [*FAMILIES, *MODELS])
def test_what_worked_shapes_out_is_gone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graphs = (model_of(kind) if kind in MODELS else tiny(kind)).eval(), []
    for simplify in (lambda graph: graph, reshapes.simplify):
        monkeypatch.setattr(export, "simplify", simplify)
        export.export(model, toy().batch([0]), tmp_path / "model.onnx")
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
    assert reshapes.constant_shape(node, shapes) == said


def test_a_graph_that_the_tool_gives_up_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def give_up(model: ModelProto) -> ModelProto:
        raise AssertionError("cannot broadcast")

    monkeypatch.setattr(reshapes, "_symbolic", give_up)
    export.export(tiny(), toy().batch([0]), tmp_path / "model.onnx")
    assert computed_shapes(onnx.load(tmp_path / "model.onnx")) > 20


def test_another_onnxruntime_may_tell_shapes_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One warning, and a model that answers alike."""
    monkeypatch.delattr(SymbolicShapeInference, "_infer_impl")
    reshapes._warn_of_onnxruntime.cache_clear()
    model, batch = tiny(), toy().batch([0, 1])
    with pytest.warns(UserWarning, match="tells shapes otherwise"):
        export.export(model, batch, tmp_path / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        export.export(model, batch, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    fed = {name: tensor.numpy() for name, tensor in inputs(batch).items()}
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, fed)[0], model(**inputs(batch)).logits, atol=1e-5)


@torch.jit.script
def shifted(x: Tensor, shift: Tensor) -> Tensor:
    """Of a function that is scripted, as some of DeBERTa's, a branch stays a branch."""
    if x.shape[0] > 1:
        x = x + shift
    return x


class Branching(nn.Module):
    """What only a branch reads is worked out outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.shift = nn.Embedding(60, 3), nn.Parameter(torch.ones(3))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=shifted(self.table(input_ids).mean(1), self.shift * 2))


def test_what_only_a_branch_reads_is_exported(tmp_path: Path) -> None:
    model = Branching()
    export.export(model, toy().batch([0]), tmp_path / "model.onnx")
    assert "If" in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for rows in ([0], [0, 1]):
        batch = inputs(toy().batch(rows))
        with torch.no_grad():
            expected = model(**batch).logits
        logits = session.run(None, {i.name: batch[i.name].numpy() for i in session.get_inputs()})[0]
        np.testing.assert_allclose(logits, expected, atol=1e-6)
