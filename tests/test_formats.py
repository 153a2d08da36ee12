"""Number formats by known answers, and the methods that plan them: what ships is what was rounded, in fewer bytes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import FAMILIES, context, fresh, tiny, toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_other_models import model_of
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.quantization.ternary import TernaryWeight
from autocompress.models import formats
from autocompress.models.formats import codebook, packing, product, ternary
from autocompress.models.formats.grid import Grid
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import round_weight, simulate
from autocompress.models.storage import load, save
from autocompress.models.surgery import products, token_tables, weight_OI
from autocompress.runtimes.onnx import safety
from autocompress.runtimes.runtime import find_runtime
from autocompress.runtimes.torch.codes import encode, fill
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

TEXTS = toy(24)
ROW, TENSOR = Precision("ternary", per_channel=True), Precision("ternary")


def codes_of(bits: int) -> Precision:
    return Precision("codebook", bits=bits)


def parts_of(bits: int, width: int) -> Precision:
    return Precision("product", bits=bits, group_size=width)


# ---- packing


@pytest.mark.parametrize("bits", packing.LEGAL)
@pytest.mark.parametrize("n", [1, 3, 4, 7, 8])
def test_packed_codes_come_back_bit_for_bit(bits: int, n: int) -> None:
    codes = torch.randint(1 << bits, (5, n), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    packed = packing.pack(codes, bits)
    assert packed.shape == (5, packing.width(n, bits))
    assert torch.equal(packing.unpack(packed, bits, n), codes)


def test_the_first_code_lies_in_the_lowest_bits() -> None:
    assert packing.pack(torch.tensor([[1, 2, 3, 0, 3]]), 2).tolist() == [[0b00_11_10_01, 0b11]]
    assert packing.pack(torch.tensor([[1, 15, 7]]), 4).tolist() == [[0b1111_0001, 0b0111]]
    assert packing.of_byte(2)[0b00_11_10_01].tolist() == [1, 2, 3, 0]


# ---- every format


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("width", [16, 21])
@pytest.mark.parametrize(
    "precision",
    [Precision("int8"), Precision("int4", group_size=16), ROW, TENSOR, codes_of(2), codes_of(4), codes_of(8),
     parts_of(2, 8), parts_of(4, 4), parts_of(8, 8)],
    ids=lambda p: f"{p.weight} {p.bits}",
)  # fmt: skip
def test_what_is_stored_has_the_shapes_it_says_and_reads_back(
    precision: Precision, width: int, transposed: bool
) -> None:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    layer: nn.Module = Conv1D(300, width) if transposed else nn.Linear(width, 300)
    plan, format_, W_OI = PrecisionPlan(), formats.find(precision.weight), weight_OI(layer)
    plan.add(["0"], precision, {f"0.{name}": given for name, given in given_for(W_OI, precision).items()})
    model = nn.Sequential(layer)
    held = encode(model, plan)
    shapes = {name.removeprefix("0."): tuple(tensor.shape) for name, tensor in held.items() if name != "0.bias"}
    assert shapes == format_.shapes(300, width, precision)
    assert sum(t.nbytes for name, t in held.items() if name != "0.bias") >= format_.bytes(300, width, precision)
    expected = weight_OI(simulate(model, plan)[0])
    opened = fill(nn.Sequential(Conv1D(300, width) if transposed else nn.Linear(width, 300)), held, plan)
    assert torch.equal(weight_OI(opened[0]), expected)
    assert 0 < (expected - W_OI).square().mean() < W_OI.square().mean()


def given_for(W_OI: Tensor, precision: Precision) -> dict[str, Tensor]:
    match precision.weight:
        case "codebook":
            return {"codebook": codebook.fit(W_OI, precision.bits, 0)}
        case "product":
            return {"codebook": product.fit(W_OI, precision, 0)}
    return {}


def test_every_format_is_a_file_and_another_name_is_refused() -> None:
    known = {"bfloat16", "codebook", "float16", "int4", "int8", "product", "ternary"}
    assert set(formats.formats()) == known
    with pytest.raises(ConfigError, match=r"^a number format should be one of bfloat16, .*\. Got 'packing'\.$"):
        formats.find("packing")


def test_plans_without_codebooks_are_written_as_before() -> None:
    """They are parts of keys."""
    plan = PrecisionPlan({"a": Precision("int4", group_size=32), "b": codes_of(4)})
    known = {"weight": "int4", "activation": "float32", "per_channel": False, "group_size": 32, "per_token": False}
    assert json.dumps(plan.dump()["a"]) == json.dumps(known | {"scales": []})
    assert plan.dump()["b"]["bits"] == 4
    assert PrecisionPlan.parse(plan.dump(), {}) == plan


# ---- k-means


def test_a_codebook_by_hand() -> None:
    """-1, -0.3, 0.4, 1.1 are the means of {-1, -0.9}, {0}, {0.1, 0.5}, {1.1} next; then 0.1 goes over to 0."""
    W = torch.tensor([[-1.0, -0.9, 0.0], [0.1, 0.5, 1.1]])
    assert codebook.fit(W, 2, 0, rounds=0).tolist() == pytest.approx([-1, -0.3, 0.4, 1.1])
    assert codebook.fit(W, 2, 0, rounds=1).tolist() == pytest.approx([-0.95, 0, 0.3, 1.1])
    codebook_K = codebook.fit(W, 2, 0)
    assert codebook_K.tolist() == pytest.approx([-0.95, 0.05, 0.5, 1.1])
    assert formats.find("codebook").codes(W, codebook_K).tolist() == [[0, 0, 1], [1, 2, 3]]


def test_a_number_that_no_weight_takes_stays_where_it_began() -> None:
    assert codebook.fit(torch.tensor([[0.0, 0.1, 3.0]]), 2, 0).tolist() == pytest.approx([0.05, 1, 2, 3])


def test_k_means_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    W = torch.randn(40, 30)
    levels = np.linspace(W.min().item(), W.max().item(), 16)
    for _ in range(50):
        own = np.abs(W.numpy()[..., None] - levels).argmin(-1)
        levels = np.array([W.numpy()[own == k].mean() if (own == k).any() else levels[k] for k in range(16)])
    found_K = codebook.fit(W, 4, 0)
    np.testing.assert_allclose(found_K.numpy(), levels, atol=1e-5)
    codes = formats.find("codebook").codes(W, found_K)
    assert torch.equal(codes.long(), (W[..., None] - found_K).abs().argmin(-1))


def test_of_many_weights_a_sample_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    W = torch.randn(300, 300)
    whole = error(W, codebook.fit(W, 4, 0))
    monkeypatch.setattr(codebook, "_SAMPLE", 9000)
    sampled = codebook.fit(W, 4, 3)
    assert torch.equal(sampled, codebook.fit(W, 4, 3))
    assert not torch.equal(sampled, codebook.fit(W, 4, 4))
    assert error(W, sampled) < 1.25 * whole
    evenly = torch.linspace(W.min().item(), W.max().item(), 16)
    assert whole < 0.9 * error(W, evenly), "it is better than where it begins"


def error(W: Tensor, codebook_K: Tensor) -> float:
    rounded = formats.find("codebook").round(W, codes_of(4), {"codebook": codebook_K})
    return float((rounded - W).square().mean())


# ---- product quantization


def test_product_quantization_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    W_VD, precision = torch.randn(60, 20), parts_of(2, 8)
    start_MKd, found_MKd = product.fit(W_VD, precision, 0, rounds=0), product.fit(W_VD, precision, 0, rounds=6)
    padded = np.pad(W_VD.numpy(), ((0, 0), (0, 4)))
    expected = np.zeros_like(padded)
    for m in range(3):
        x, shared = padded[:, 8 * m : 8 * m + 8], start_MKd[m].numpy().copy()
        for _ in range(6):
            own = [int(np.argmin([((row - c) ** 2).sum() for c in shared])) for row in x]
            for k in set(own):
                shared[k] = np.mean([row for row, one in zip(x, own, strict=True) if one == k], axis=0)
        np.testing.assert_allclose(found_MKd[m].numpy(), shared, atol=1e-5)
        for v, row in enumerate(x):
            expected[v, 8 * m : 8 * m + 8] = shared[np.argmin([((row - c) ** 2).sum() for c in shared])]
    rounded = formats.find("product").round(W_VD, precision, {"codebook": found_MKd})
    np.testing.assert_allclose(rounded.numpy(), expected[:, :20], atol=1e-5)
    begun = formats.find("product").round(W_VD, precision, {"codebook": start_MKd})
    assert (rounded - W_VD).square().sum() < 0.9 * (begun - W_VD).square().sum()


# ---- ternary weights


def test_a_ternary_weight_by_hand() -> None:
    """Of the tensor: mean |W| = 0.5, so what is above 0.35 stays, and a = (0.5 + 0.9 + 1.2) / 3. Then row by row."""
    W_OI = torch.tensor([[0.1, -0.5, 0.9], [0.3, 0.0, -1.2]])
    a = 2.6 / 3
    by_tensor = torch.tensor([[0, -a, a], [0, 0, -a]])
    by_row = torch.tensor([[0, -0.7, 0.7], [0, 0, -1.2]])
    for precision, expected, scale in ((TENSOR, by_tensor, [[a]]), (ROW, by_row, [[0.7], [1.2]])):
        torch.testing.assert_close(ternary.FORMAT.projected(W_OI, precision), expected)
        torch.testing.assert_close(ternary.FORMAT.scale(W_OI, precision), torch.tensor(scale))
        again = round_weight(expected, precision, torch.tensor(scale))
        torch.testing.assert_close(again, expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_pass_a_ternary_weight_as_if_it_were_not_there(transposed: bool) -> None:
    torch.manual_seed(0)
    W = torch.randn(6, 4, requires_grad=True)
    out = TernaryWeight(ROW, transposed=transposed)(W)
    given = torch.randn(6, 4)
    (out * given).sum().backward()
    assert torch.equal(W.grad, given)
    assert all(len(row.abs().unique()) <= 2 for row in (out.T if transposed else out))


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_trained_weights_lie_on_the_grid_that_the_plan_says(family: str, granularity: str) -> None:
    model = tiny() if family == "bert" else model_of(family)
    ctx = context(model)
    changed = find("ternary")(granularity=granularity).apply(fresh(model), ctx)
    start = {name: scale.clone() for name, scale in ctx.precision.scales.items()}
    changed = find("finetune")(epochs=1, lr=1e-2).apply(changed, ctx)
    assert not any(parametrize.is_parametrized(m) for m in changed.modules())
    assert ctx.precision
    for path, precision in ctx.precision.items():
        W_OI, scale = weight_OI(changed.get_submodule(path)), ctx.precision.scale(path, "weight_scale")
        assert precision == (ROW if granularity == "row" else TENSOR)
        assert torch.equal(round_weight(W_OI, precision, scale), W_OI)
        assert not torch.equal(scale, start[f"{path}.weight_scale"]), "a is learnt along"
        assert 0.05 < (W_OI == 0).float().mean() < 0.95


# ---- what ships


RECIPES: dict[str, tuple[list[tuple[str, dict]], float]] = {  # steps -> the share of float32's bytes in the file
    "kmeans 2": ([("codebook", {"bits": 2})], 0.18),
    "kmeans 4": ([("codebook", {"bits": 4})], 0.26),
    "kmeans 8": ([("codebook", {"bits": 8})], 0.80),
    "kmeans of the table": ([("codebook", {"bits": 4, "scope": "embedding"})], 0.97),
    "kmeans of the layers": ([("codebook", {"bits": 4, "scope": "layers"})], 0.26),
    "product 2": ([("codebook", {"bits": 2, "method": "product", "scope": "embedding"})], 0.97),
    "product 4": ([("codebook", {"bits": 4, "method": "product", "width": 4, "scope": "all"})], 0.27),
    "ternary": ([("ternary", {}), ("finetune", {"epochs": 1})], 0.24),
    "ternary tensor": ([("ternary", {"granularity": "tensor"}), ("finetune", {"epochs": 1})], 0.22),
}
RUNTIMES = ("onnxruntime", "torch")


def lowered(model: nn.Module, name: str, runtime: str, folder: Path) -> tuple[nn.Module, PrecisionPlan]:
    ctx: Context = context(model)
    changed = fresh(model)
    for method, knobs in RECIPES[name][0]:
        changed = find(method)(**knobs).apply(changed, ctx)
    ships = find_runtime(runtime)
    ships.support(ctx.precision, Target(runtime=runtime))
    ships.lower(changed, ctx.precision, toy().batch([0]), folder)
    return changed, ctx.precision


def run(runtime: str, folder: Path) -> np.ndarray:
    session = find_runtime(runtime).open(folder, Target(runtime=runtime))
    return np.concatenate([session.run(batch) for batch in TEXTS.batches(5)])


def torch_logits(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in TEXTS.batches(5)])


EVERY = [(name, "bert") for name in RECIPES] + [
    (name, family) for family in [*list(FAMILIES)[1:], "gpt2", "llama", "t5"] for name in ("kmeans 4", "product 2")
]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("name", "family"), EVERY)
def test_what_ships_says_what_the_simulation_says(name: str, family: str, runtime: str, tmp_path: Path) -> None:
    model = tiny(family) if family in FAMILIES else model_of(family)
    changed, plan = lowered(model, name, runtime, tmp_path)
    expected = torch_logits(find_runtime(runtime).simulate(changed, plan))
    np.testing.assert_allclose(run(runtime, tmp_path), expected, atol=1e-4 * max(1.0, np.ptp(expected)))
    np.testing.assert_allclose(torch_logits(changed), expected, atol=1e-5, err_msg="weights are left on their grid")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", RECIPES)
def test_the_file_is_smaller_by_what_the_bits_say(name: str, runtime: str, tmp_path: Path) -> None:
    """1/16, 1/8 or 1/4 of the bytes, and at this width the shared numbers, scales, biases and positions beside it."""
    find_runtime(runtime).lower(tiny(), PrecisionPlan(), toy().batch([0]), tmp_path / "dense")
    lowered(tiny(), name, runtime, tmp_path / "small")
    small, dense = (held_bytes(runtime, tmp_path / one) for one in ("small", "dense"))
    assert small < RECIPES[name][1] * dense


def held_bytes(runtime: str, folder: Path) -> int:
    file = find_runtime(runtime).artefact(folder)
    if runtime == "torch":
        return sum(tensor.nbytes for tensor in load_file(file).values())
    tensors = onnx.load(file).graph.initializer
    return sum(len(t.raw_data) for t in tensors if not t.name.startswith("codes_of_byte"))


def test_the_graph_holds_bytes_and_no_weight_of_a_layer(tmp_path: Path) -> None:
    lowered(tiny(), "kmeans 4", "onnxruntime", tmp_path)
    safety.check(tmp_path / "model.onnx", "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    matrices = [t for t in model.graph.initializer if t.name.endswith("weight") and len(t.dims) == 2]
    coded = [t for t in model.graph.initializer if "_codes_" in t.name]
    assert {t.data_type for t in coded} == {onnx.TensorProto.UINT8}
    assert len(coded) == len(products(tiny())) + 1 - sum(small(m) for m in products(tiny()).values())
    assert [t.dims for t in matrices if t.dims[0] > 40] == []
    assert {o.domain: o.version for o in model.opset_import}[""] == 17


def small(layer: nn.Module) -> bool:
    """Whether 16 shared numbers take more than four bits a weight save."""
    return 64 + layer.weight.numel() / 2 >= 4 * layer.weight.numel()


def test_a_table_with_several_names_is_stored_once(tmp_path: Path) -> None:
    model = model_of("t5")
    _, plan = lowered(model, "product 2", "torch", tmp_path)
    assert len(plan) == len(token_tables(model)) > 1
    held = load_file(tmp_path / "packed.safetensors")
    assert len([name for name in held if name.endswith(".codes")]) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["kmeans 4", "product 4", "ternary"])
def test_saved_and_loaded_it_lowers_to_the_same_artefact(name: str, runtime: str, tmp_path: Path) -> None:
    changed, plan = lowered(tiny(), name, runtime, tmp_path / "one")
    save(changed, tmp_path / "module")
    plan.save(tmp_path / "module")
    again, ships = PrecisionPlan.load(tmp_path / "module"), find_runtime(runtime)
    ships.lower(load(tmp_path / "module"), again, toy().batch([0]), tmp_path / "two")
    assert ships.artefact(tmp_path / "one").read_bytes() == ships.artefact(tmp_path / "two").read_bytes()


# ---- what is refused


@pytest.mark.parametrize("precision", [codes_of(4), parts_of(4, 8), ROW], ids=lambda p: p.weight)
def test_openvino_refuses_them_in_one_sentence(precision: Precision) -> None:
    with pytest.raises(NotApplicable) as caught:
        find_runtime("openvino").support(PrecisionPlan({"classifier": precision}), Target(runtime="openvino"))
    assert str(caught.value) == (
        f"openvino has no kernels on cpu for {precision.weight} weights with float32 inputs, planned for classifier"
    )


def test_two_precisions_for_one_matrix_are_refused() -> None:
    for first in ("codebook", "ternary"):
        for other in ("int8_dynamic", "half", "weight_only", "qat", *({"codebook", "ternary"} - {first})):
            ctx = context(tiny())
            model = find(first)().apply(tiny(), ctx)
            with pytest.raises(NotApplicable, match=r"^two (precisions|scales) for "):
                find(other)().apply(model, ctx)


def test_ternary_layers_go_with_a_table_of_another_format(tmp_path: Path) -> None:
    ctx = context(tiny())
    model = find("ternary")().apply(tiny(), ctx)
    model = find("finetune")(epochs=1).apply(model, ctx)
    model = find("codebook")(scope="embedding", method="product", bits=2).apply(model, ctx)
    assert {p.weight for p in ctx.precision.values()} == {"ternary", "product"}
    find_runtime("onnxruntime").lower(model, ctx.precision, toy().batch([0]), tmp_path)
    np.testing.assert_allclose(run("onnxruntime", tmp_path), torch_logits(model), atol=1e-3)


def test_what_would_not_get_smaller_is_left_or_refused() -> None:
    ctx = context(tiny())
    find("codebook")(bits=8).apply(tiny(), ctx)
    assert "classifier" not in ctx.precision, "96 weights take less than 256 shared numbers"
    with pytest.raises(NotApplicable, match=r"^no matrix in scope='embedding' gets smaller by a codebook of 8 bits$"):
        find("codebook")(bits=8, method="product", scope="embedding").apply(tiny(), context(tiny()))
    with pytest.raises(NotApplicable, match=r"^product quantization is of the table of embeddings, which scope='lay"):
        find("codebook")(method="product", scope="layers").apply(tiny(), context(tiny()))


MALFORMED = {  # what a stranger's file says -> what is said of it
    "a short codebook": (lambda held: held.update({"0.codebook": torch.zeros(4)}), "should be of the shapes"),
    "other codes": (lambda held: held.update({"0.codes": torch.zeros(300, 2)}), "should be of the shapes"),
    "codes that are no bytes": (lambda held: held.update({"0.codes": held["0.codes"].float()}), "should be bytes"),
    "no codebook": (lambda held: held.pop("0.codebook"), "should be of the shapes"),
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_file_is_refused(what: str) -> None:
    layer, plan = nn.Linear(16, 300), PrecisionPlan()
    plan.add(["0"], codes_of(4), {"0.codebook": codebook.fit(layer.weight, 4, 0)})
    held = encode(nn.Sequential(layer), plan)
    spoil, said = MALFORMED[what]
    spoil(held)
    with pytest.raises(ConfigError, match=said):
        fill(nn.Sequential(nn.Linear(16, 300)), held, plan)


@pytest.mark.parametrize(
    "claimed",
    [{"bits": 10**9}, {"bits": 3}, {"bits": -2}, {"weight": "product", "group_size": 10**9}, {"weight": "product"},
     {"weight": "no such"}],
    ids=str,
)  # fmt: skip
def test_a_precision_that_nothing_writes_is_refused(claimed: dict[str, object], tmp_path: Path) -> None:
    layer, plan = nn.Linear(16, 300), PrecisionPlan()
    plan.add(["0"], codes_of(4), {"0.codebook": codebook.fit(layer.weight, 4, 0)})
    held = encode(nn.Sequential(layer), plan)
    with pytest.raises(ConfigError, match="should be "):
        fill(nn.Sequential(nn.Linear(16, 300)), held, PrecisionPlan({"0": dataclasses.replace(plan["0"], **claimed)}))


def test_a_ternary_file_with_a_fourth_code_is_refused(tmp_path: Path) -> None:
    lowered(tiny(), "ternary", "torch", tmp_path)
    file = tmp_path / "packed.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    held = load_file(file)
    name = next(name for name in held if name.endswith(".codes"))
    held[name][0, 0] = 0b11
    save_file(held, file, metadata=metadata)
    with pytest.raises(ConfigError, match=r"^ternary codes should be 0, 1 or 2\. Got 3\."):
        find_runtime("torch").open(tmp_path, Target(runtime="torch"))


def test_grids_hold_their_codes() -> None:
    for name, format_ in formats.formats().items():
        if isinstance(format_, Grid):
            assert format_.highest - format_.lowest < 1 << format_.bits, name
