"""Every precision is real in the file that ships: its operators, its bytes, and the labels of its simulation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import FAMILIES, context, exact_int8, fresh, tiny, toy
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import simulate
from autocompress.models.storage import load, save
from autocompress.models.surgery import products
from autocompress.runtimes.onnx.graph import Graph
from autocompress.runtimes.onnx.quantize import quantize
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

ONNX, TARGET = find_runtime("onnxruntime"), Target()
TEXTS = toy(200)

RECIPES = {  # what is asked for -> operators that a tiny BERT has for its 26 products and its table
    "int8_dynamic": ([("int8_dynamic", {})], {"MatMulIntegerToFloat": 26, "ReduceMax": 18, "QuantizeLinear": 18}),
    "int8_dynamic by batch": (
        [("int8_dynamic", {"per_token": False})],
        {"MatMulIntegerToFloat": 26, "DynamicQuantizeLinear": 18},
    ),
    "int8_dynamic, one scale": (
        [("int8_dynamic", {"per_token": False, "per_channel": False})],
        {"MatMulIntegerToFloat": 26, "DynamicQuantizeLinear": 18},
    ),
    "int8_static": ([("int8_static", {"smooth": 0.0})], {"MatMulIntegerToFloat": 26, "QuantizeLinear": 18}),
    "int8_static smooth": ([("int8_static", {"smooth": 0.5})], {"MatMulIntegerToFloat": 26, "QuantizeLinear": 18}),
    "int8_static entropy": ([("int8_static", {"observer": "entropy"})], {"MatMulIntegerToFloat": 26}),
    "int8_static percentile": ([("int8_static", {"observer": "percentile"})], {"MatMulIntegerToFloat": 26}),
    **{
        f"weight_only {algorithm} {bits}": (
            [("weight_only", {"algorithm": algorithm, "bits": bits})],
            {"MatMulNBits": 26, "GatherBlockQuantized": 1},
        )
        for algorithm in ("rtn", "gptq", "awq")
        for bits in (4, 8)
    },
    "embedding 8": ([("embedding", {"bits": 8})], {"GatherBlockQuantized": 1}),
    "embedding 4": ([("embedding", {"bits": 4})], {"GatherBlockQuantized": 1}),
    "mixed_precision": ([("mixed_precision", {})], {}),
    "int8_dynamic first_last": ([("int8_dynamic", {"exclude": "first_last"})], {"MatMulIntegerToFloat": 12}),
    "half": ([("half", {})], {}),
    "half bfloat16": ([("half", {"dtype": "bfloat16"})], {}),
}


def lowered(model: nn.Module, steps: list[tuple[str, dict]], folder: Path, ctx: Context) -> nn.Module:
    model = fresh(model)
    for name, knobs in steps:
        model = find(name)(**knobs).apply(model, ctx)
    ONNX.support(ctx.precision, ctx.target)
    ONNX.lower(model, ctx.precision, toy().batch([0]), folder)
    return model


def run(folder: Path) -> np.ndarray:
    session = ONNX.open(folder, TARGET)
    return np.concatenate([session.run(batch) for batch in TEXTS.batches(1)])


def torch_logits(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in TEXTS.batches(1)])


def operators(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(ONNX.artefact(folder)).graph.node)


def weight_bytes(folder: Path) -> int:
    return sum(len(t.raw_data) for t in onnx.load(ONNX.artefact(folder)).graph.initializer)


@pytest.mark.parametrize("name", RECIPES)
def test_the_kernels_are_there(name: str, tmp_path: Path) -> None:
    steps, expected = RECIPES[name]
    lowered(tiny(), steps, tmp_path, context(tiny()))
    counts = operators(tmp_path)
    assert {op: counts[op] for op in expected} == expected


@exact_int8
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", RECIPES)
def test_labels_are_those_of_the_simulation(name: str, family: str, tmp_path: Path) -> None:
    """It rounds where the simulation rounds: at least 99 % of labels agree, and logits within 3 % of their range."""
    model, ctx = tiny(family), context(tiny(family))
    changed = lowered(model, RECIPES[name][0], tmp_path, ctx)
    ran, expected = run(tmp_path), torch_logits(simulate(changed, ctx.precision, rounds_groups=True))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)
    assert np.abs(expected - torch_logits(model)).max() > 0, "the simulation rounds something"


@pytest.mark.parametrize("per_token", [True, False])
def test_with_a_scale_a_token_an_answer_is_that_of_its_text_alone(per_token: bool, tmp_path: Path) -> None:
    lowered(tiny(), [("int8_dynamic", {"per_token": per_token})], tmp_path, context(tiny()))
    session, [batch] = ONNX.open(tmp_path, TARGET), toy(8).batches(8)
    alone = np.concatenate([session.run({name: x[[i]] for name, x in batch.items()}) for i in range(8)])
    assert (np.abs(session.run(batch) - alone).max() < 1e-5) == per_token


@exact_int8
def test_a_token_of_zeros_gives_the_bias(tmp_path: Path) -> None:
    model = tiny()
    nn.init.zeros_(model.bert.embeddings.LayerNorm.weight)
    nn.init.zeros_(model.bert.embeddings.LayerNorm.bias)
    changed = lowered(model, [("low_rank", {}), ("int8_dynamic", {})], tmp_path, ctx := context(model))
    expected = torch_logits(simulate(changed, ctx.precision))
    assert np.abs(run(tmp_path) - expected).max() <= 0.03 * np.abs(expected).max()


def test_what_lies_between_two_factors_is_rounded_before_it_is_scaled(tmp_path: Path) -> None:
    """A pass less over it: what scales a token falls out when the token is brought to [-1, 1]."""
    lowered(tiny(), [("low_rank", {}), ("int8_dynamic", {})], tmp_path, ctx := context(tiny()))
    scaled = Counter(
        node.name.split("/")[-2]
        for node in onnx.load(ONNX.artefact(tmp_path)).graph.node
        if node.name.endswith("_token")
    )
    pairs = sum(path.endswith(".up") for path in ctx.precision)
    assert (scaled["up"], scaled["down"]) == (pairs, 0)


def test_what_a_branch_reads_is_kept() -> None:
    """And what nothing reads is not, neither nodes nor weights."""
    made = helper.make_node
    branch = helper.make_graph([made("Add", ["doubled", "weight"], ["sum"])], "branch", [], [value("sum")])
    nodes = [
        made("Add", ["x", "x"], ["doubled"]), made("Mul", ["x", "idle"], ["unread"]),
        made("If", ["condition"], ["y"], then_branch=branch, else_branch=branch),
    ]  # fmt: skip
    weights = [numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("weight", "idle")]
    inputs_ = [value("x"), helper.make_tensor_value_info("condition", TensorProto.BOOL, [])]
    graph = Graph(helper.make_model(helper.make_graph(nodes, "g", inputs_, [value("y")], weights)))
    for node in graph.old:
        graph.keep(node)
    finished = graph.finish().graph
    assert [node.op_type for node in finished.node] == ["Add", "If"]
    assert [tensor.name for tensor in finished.initializer] == ["weight"]


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])


SHARES = {
    "int8_dynamic": 0.36, "int8_static": 0.36, "weight_only gptq 4": 0.24, "weight_only awq 8": 0.36,
    "half": 0.53, "half bfloat16": 0.53, "embedding 8": 0.98, "embedding 4": 0.97,
}  # fmt: skip


@pytest.mark.parametrize(("name", "share"), SHARES.items())
def test_the_file_is_smaller_by_what_the_bits_say(name: str, share: float, tmp_path: Path) -> None:
    """`share` of float32's bytes: 1/4 or 1/2, and at this width the scales, biases and positions beside it."""
    ONNX.lower(tiny(), PrecisionPlan(), toy().batch([0]), tmp_path / "dense")
    lowered(tiny(), RECIPES[name][0], tmp_path / "small", context(tiny()))
    assert weight_bytes(tmp_path / "small") < share * weight_bytes(tmp_path / "dense")


def test_saved_and_loaded_it_lowers_to_the_same_artefact(tmp_path: Path) -> None:
    ctx = context(tiny())
    changed = lowered(tiny(), RECIPES["int8_static smooth"][0], tmp_path / "one", ctx)
    save(changed, tmp_path / "module")
    ctx.precision.save(tmp_path / "module")
    plan = PrecisionPlan.load(tmp_path / "module")
    ONNX.lower(load(tmp_path / "module"), plan, toy().batch([0]), tmp_path / "two")
    assert ONNX.artefact(tmp_path / "one").read_bytes() == ONNX.artefact(tmp_path / "two").read_bytes()


def test_what_has_no_kernel_is_refused() -> None:
    for weight, activation in (("int4", "dynamic_int8"), ("float16", "float16"), ("bfloat16", "bfloat16")):
        plan = PrecisionPlan()
        plan.add(products(tiny()), Precision(weight, activation))
        said = f"^onnxruntime has no kernels on cpu for {weight} weights with {activation} inputs, planned for bert"
        with pytest.raises(NotApplicable, match=said):
            ONNX.support(plan, TARGET)


def test_two_precisions_for_one_layer_are_refused() -> None:
    ctx = context(tiny())
    find("int8_dynamic")().apply(tiny(), ctx)
    with pytest.raises(NotApplicable, match="two precisions for"):
        find("half")().apply(tiny(), ctx)


def test_static_without_channels_and_smoothing_is_refused() -> None:
    with pytest.raises(NotApplicable, match="loses too much"):
        find("int8_static")(smooth=0, per_channel=False).apply(tiny(), context(tiny()))


def test_all_of_a_model_in_float16_is_a_float16_graph(tmp_path: Path) -> None:
    """What `half` asks for on a GPU. A CPU runs that file too, through casts, so its numbers can be looked at here."""
    ctx = context(tiny())
    ctx.target = Target(device="cuda")
    find("half")().apply(tiny(), ctx)
    assert {p.activation for p in ctx.precision.values()} == {"float16"}
    ONNX.lower(tiny(), ctx.precision, toy().batch([0]), tmp_path)
    graph = onnx.load(ONNX.artefact(tmp_path)).graph
    kinds = Counter(t.data_type for t in graph.initializer if len(t.dims) > 1)
    assert set(kinds) == {TensorProto.FLOAT16}
    np.testing.assert_allclose(run(tmp_path), torch_logits(tiny()), atol=0.02)


def test_a_product_in_a_branch_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A scripted module leaves an `If`; its branches hold nodes of their own."""
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "weight")
    product = helper.make_node("MatMul", ["x", "weight"], ["y"], "/model/inner/MatMul")
    y, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("y", "out"))
    branch = helper.make_graph([product], "branch", [], [y])
    node = helper.make_node("If", ["which"], ["out"], "/model/If", then_branch=branch, else_branch=branch)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    which = helper.make_tensor_value_info("which", TensorProto.BOOL, [])
    onnx.save(helper.make_model(helper.make_graph([node], "graph", [x, which], [out], [weight])), tmp_path / "a.onnx")
    plan = PrecisionPlan({"inner": Precision("int8", "int8")})
    with pytest.raises(NotApplicable, match=r"^inner is computed in a branch or a loop of the exported graph"):
        quantize(tmp_path / "a.onnx", {"inner": "inner"}, plan, tmp_path / "b.onnx", spare_bit=False)
    with pytest.raises(RuntimeError, match="has no node for"):
        quantize(tmp_path / "a.onnx", {"other": "inner"}, plan, tmp_path / "b.onnx", spare_bit=False)
