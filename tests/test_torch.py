"""The torch runtime: plans are carried out in the file and in the kernels, eager and compiled alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FAMILIES, codes_apart, context, exact_int8, fresh, tiny, toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_other_models import MODELS, model_of
from test_precisions import RECIPES, TEXTS, torch_logits
from tiny_project import SPACE, make_project
from torch import nn

import autocompress
from autocompress.errors import AutocompressError, ConfigError, NotApplicable
from autocompress.machine.instructions import weight_bits
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import input_grid, round_groups, round_input, round_weight, simulate, weight_scale
from autocompress.models.surgery import products
from autocompress.runtimes import isolated, latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.runtimes.torch.codes import encode, fill
from autocompress.runtimes.torch.product import IntegerProduct, on_grid
from autocompress.serving.verify import verify
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.trials import work
from autocompress.trials.bench import Bench

TORCH, TARGET = find_runtime("torch"), Target(runtime="torch")
ON_X86 = pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="no 8-bit kernels here")


def lowered(model: nn.Module, recipe: str, folder: Path) -> tuple[nn.Module, PrecisionPlan]:
    ctx = context(fresh(model))
    ctx.target = TARGET
    for name, knobs in RECIPES[recipe][0]:
        model = find(name)(**knobs).apply(model, ctx)
    TORCH.support(ctx.precision, TARGET)
    TORCH.lower(model, ctx.precision, toy().batch([0]), folder)
    return model, ctx.precision


def run(folder: Path, target: Target = TARGET, size: int = 1) -> np.ndarray:
    session = TORCH.open(folder, target)
    return np.concatenate([session.run(batch) for batch in TEXTS.batches(size)])


def agree(ran: np.ndarray, expected: np.ndarray) -> bool:
    """Of CPUs whose weights keep to 7 bits, which no simulation knows, half as much is asked."""
    less = 2 ** (8 - weight_bits())
    close = np.abs(ran - expected).max() <= 0.03 * less * np.ptp(expected)
    return bool(close and (ran.argmax(1) == expected.argmax(1)).mean() >= 1 - 0.01 * less)


FEW = ("int8_dynamic", "int8_static smooth", "weight_only gptq 4", "half")
EVERY = [(recipe, "bert") for recipe in RECIPES] + [(recipe, family) for family in list(FAMILIES)[1:] for recipe in FEW]


@exact_int8
@ON_X86
@pytest.mark.parametrize(("recipe", "family"), EVERY)
def test_labels_are_those_of_the_simulation(recipe: str, family: str, tmp_path: Path) -> None:
    """At least 99 % of them, and logits are within 3 % of their range."""
    changed, plan = lowered(tiny(family), recipe, tmp_path)
    assert agree(run(tmp_path), torch_logits(simulate(changed, plan)))


@ON_X86
@pytest.mark.parametrize("recipe", FEW)
@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
@pytest.mark.slow
def test_models_that_are_no_bert_run_too(kind: str, recipe: str, tmp_path: Path) -> None:
    assert kind in MODELS
    changed, plan = lowered(model_of(kind), recipe, tmp_path)
    assert agree(run(tmp_path), torch_logits(simulate(changed, plan)))


@ON_X86
@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        ("int8_dynamic", {"embeddings": True}), ("int8_dynamic", {"embeddings": False}), ("embedding", {"bits": 4}),
        ("half", {}),
    ],
)  # fmt: skip
def test_what_has_several_names_is_stored_once(method: str, knobs: dict[str, object], tmp_path: Path) -> None:
    """T5's table: the model's, its encoder's and its decoder's. It is one again when it is loaded."""
    model, ctx = model_of("t5"), context(model_of("t5"))
    changed = find(method)(**knobs).apply(fresh(model), ctx)
    TORCH.lower(changed, ctx.precision, toy().batch([0]), tmp_path)
    with safe_open(TORCH.artefact(tmp_path), "pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    tables = [name for name, tensor in held.items() if tensor.shape[0] == 60 and not name.endswith(".scale")]
    assert [name.rpartition(".")[0] for name in tables] == ["transformer.shared"]
    opened = TORCH.open(tmp_path, TARGET)._logits.model.transformer
    assert opened.encoder.embed_tokens.weight is opened.decoder.embed_tokens.weight is opened.shared.weight
    expected = simulate(changed, ctx.precision).transformer.shared.weight
    torch.testing.assert_close(opened.shared.weight.float(), expected, rtol=0, atol=1e-6)


SHARES = {
    "int8_dynamic": 0.36, "int8_static": 0.36, "weight_only gptq 4": 0.24, "weight_only awq 8": 0.36,
    "half": 0.53, "half bfloat16": 0.53, "embedding 8": 0.98, "embedding 4": 0.97,
}  # fmt: skip


@ON_X86
@pytest.mark.parametrize(("recipe", "share"), SHARES.items())
def test_the_file_is_smaller_by_what_the_bits_say(recipe: str, share: float, tmp_path: Path) -> None:
    """`share` of float32's bytes: 1/4 or 1/2, and at this width the scales, biases and positions beside it."""
    TORCH.lower(tiny(), PrecisionPlan(), toy().batch([0]), tmp_path / "dense")
    lowered(tiny(), recipe, tmp_path / "small")
    held = [sum(t.nbytes for t in load_file(TORCH.artefact(tmp_path / one)).values()) for one in ("small", "dense")]
    assert held[0] < share * held[1]


@exact_int8
@ON_X86
@pytest.mark.parametrize("grid", ["dynamic", "static", "token"])
def test_a_product_of_codes_is_what_the_codes_stand_for(grid: str) -> None:
    """Sums of 8-bit products are exact, so nothing but float32's own rounding is left."""
    torch.manual_seed(0)
    x_NI, W_OI, bias_O = torch.randn(5, 48), torch.randn(7, 48), torch.randn(7)
    scale, zero = input_grid(*torch.tensor([-1.0, 2.0])) if grid == "static" else input_grid(x_NI.amin(), x_NI.amax())
    precision = Precision("int8", "dynamic_int8", per_channel=True)
    scale_OG = weight_scale(W_OI, precision)
    q_OI = (W_OI / scale_OG).round().to(torch.int8)
    given = {"input_scale": scale, "input_zero_point": zero} if grid == "static" else {}
    product = IntegerProduct(q_OI, scale_OG.flatten(), bias_O, given, per_token=grid == "token")
    rounded_NI = round_groups(x_NI, 48) if grid == "token" else round_input(x_NI, scale, zero)
    expected = rounded_NI.double() @ round_weight(W_OI, precision).double().T + bias_O
    np.testing.assert_allclose(product(x_NI).numpy(), expected.numpy(), atol=1e-4)


@exact_int8
@ON_X86
def test_the_simulation_rounds_a_million_inputs_to_the_codes_of_the_kernel() -> None:
    """Through a product with the identity; x / s + z in two steps would differ in a few."""
    x_NI = 2 * torch.randn(60_000, 64, generator=torch.Generator().manual_seed(0))
    scale, zero = input_grid(x_NI.amin(), x_NI.amax())
    given = {"input_scale": scale, "input_zero_point": zero}
    ran_NI = IntegerProduct(torch.eye(64, dtype=torch.int8), torch.ones(64), None, given)(x_NI)
    assert codes_apart(ran_NI, on_grid(x_NI, scale, zero), scale) == 0
    assert codes_apart(ran_NI, round_input(x_NI, scale, zero), scale) > 0


def test_codes_of_four_bits_come_back_from_an_odd_width() -> None:
    torch.manual_seed(0)
    model, plan = nn.Sequential(nn.Linear(21, 5)), PrecisionPlan()
    plan.add(["0"], Precision("int4", group_size=16))
    held = encode(model, plan)
    assert held["0.codes"].shape == (5, 11)
    expected = round_weight(model[0].weight.detach(), plan["0"])
    assert torch.equal(fill(nn.Sequential(nn.Linear(21, 5)), held, plan)[0].weight, expected)


def test_all_of_a_model_in_bfloat16_computes_in_it(tmp_path: Path) -> None:
    plan = PrecisionPlan()
    plan.add(products(tiny()), Precision("bfloat16", "bfloat16"))
    TORCH.support(plan, TARGET)
    TORCH.lower(tiny(), plan, toy().batch([0]), tmp_path)
    held = load_file(TORCH.artefact(tmp_path))
    assert {t.dtype for t in held.values() if t.is_floating_point()} == {torch.bfloat16}
    dense = torch_logits(tiny())
    assert 0 < np.abs(run(tmp_path) - dense).max() < 0.05 * np.ptp(dense)


def test_half_computes_in_a_format_where_it_has_arithmetic() -> None:
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

    def has_arithmetic(target: Target, dtype: str) -> bool:
        ctx = context(tiny())
        ctx.target = target
        return ctx.computes_in(dtype)

    assert has_arithmetic(Target(device="cuda"), "float16")
    assert has_arithmetic(TARGET, "bfloat16") == fast
    assert not has_arithmetic(TARGET, "float16")
    assert not has_arithmetic(Target(), "bfloat16"), "onnxruntime has none on a CPU"
    assert has_arithmetic(Target(runtime="openvino"), "bfloat16") == fast


REFUSED = {
    "float16 on a CPU": (Precision("float16", "float16"), TARGET),
    "4-bit products": (Precision("int4", "dynamic_int8"), TARGET),
    "8-bit products on a GPU": (Precision("int8", "dynamic_int8"), Target(runtime="torch", device="cuda")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_kernel_is_refused(what: str) -> None:
    precision, target = REFUSED[what]
    plan = PrecisionPlan({"one.layer": precision})
    with pytest.raises(NotApplicable) as caught:
        TORCH.support(plan, target)
    assert str(caught.value) == (
        f"torch has no kernels on {target.device} for {precision.weight} weights with {precision.activation} inputs, "
        "planned for one.layer"
    )


def test_half_a_model_does_not_compute_in_half() -> None:
    plan = PrecisionPlan({"one": Precision("bfloat16", "bfloat16"), "other": Precision("int8", per_channel=True)})
    with pytest.raises(NotApplicable, match=r"^one computes in bfloat16, which is all of a model or nothing$"):
        TORCH.support(plan, TARGET)


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    TORCH.support(PrecisionPlan(), TARGET)
    with pytest.raises(NotApplicable) as caught:
        TORCH.support(PrecisionPlan(), Target(runtime="torch", compile=True))
    assert str(caught.value) == (
        "target.compile is true, but there is no C++ compiler 'no-such-compiler' on this machine. "
        "Install one, name it in the environment variable CXX, or leave target.compile out"
    )


def test_a_search_that_cannot_compile_ends_before_anything_is_trained(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(Bench, "teach", lambda *a: pytest.fail("it trains"))
    project.write_text(project.read_text().replace("runtime: onnxruntime", "runtime: torch, compile: true"))
    with pytest.raises(AutocompressError, match=r"^the baseline failed: target.compile is true, but there is no C"):
        autocompress.search(project, trials=1)


@ON_X86
@pytest.mark.skipif(not shutil.which("g++"), reason="this machine has no C++ compiler")
@pytest.mark.slow
def test_compiled_it_computes_the_same(tmp_path: Path) -> None:
    """Padded batches too, which are of other shapes than the first one."""
    torch.manual_seed(0)
    model = tiny()
    model.bert.encoder.layer = model.bert.encoder.layer[:1]
    model.config.num_hidden_layers = 1
    changed, plan = lowered(model, "int8_static smooth", tmp_path)
    compiled = Target(runtime="torch", compile=True)
    TORCH.support(plan, compiled)
    ran = run(tmp_path, compiled, size=7)
    assert agree(ran, torch_logits(simulate(changed, plan)))
    np.testing.assert_allclose(ran, run(tmp_path, size=7), atol=0.01 * np.ptp(ran))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    """An int8 model of a whole search on the torch runtime."""
    folder = tmp_path_factory.mktemp("torch")
    space = SPACE.split("anchors:")[0].replace("runtime: onnxruntime", "runtime: torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.setattr(latency, "absolute_latency", lambda *a: 3.0)
        given = make_project(folder, f"{space}steps:\n  - finetune: {{epochs: 1, lr: 1e-2}}\n  - int8_dynamic\n")
        yield autocompress.search(given, trials=1).export(folder / "out")
    work.loaded.cache_clear()


@ON_X86
@pytest.mark.slow
def test_an_exported_folder_serves_and_verifies(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its artefact lies beside the plain module, which is another file."""
    monkeypatch.chdir(exported.parent)
    monkeypatch.setattr(isolated, "absolute_latency", lambda *a: 0.0)
    assert [check.agrees for check in verify(exported)] == [True] * 3
    classify, module = autocompress.pipeline(exported), autocompress.load(exported)
    assert any(isinstance(m, IntegerProduct) for m in classify.session._session._logits.modules())
    texts = ["honey tree river", "vinegar"]
    with torch.no_grad():
        plain = [module(**classify.tokenizer(t, return_tensors="pt")).logits[0].numpy() for t in texts]
    ran = classify.logits(texts)
    assert (ran.argmax(1) == np.argmax(plain, 1)).all()
    assert 0 < np.abs(ran - plain).max() < 0.1 * np.ptp(plain)


@ON_X86
@pytest.mark.slow
def test_codes_that_ask_for_more_than_they_hold_are_refused(exported: Path, tmp_path: Path) -> None:
    """Scales of a million rows would make a million rows of one row of codes."""
    folder = Path(shutil.copytree(exported, tmp_path / "spoilt"))
    path = "bert.encoder.layer.0.attention.self.query"
    with safe_open(folder / "packed.safetensors", "pt") as file:
        metadata = file.metadata()
    assert path in json.loads(metadata["precision"])
    held = load_file(folder / "packed.safetensors")
    held[f"{path}.scale"] = torch.ones(1_000_000, 1)
    save_file(held, folder / "packed.safetensors", metadata=metadata)
    with pytest.raises(ConfigError, match=rf"^{path}: its codes and scales should be of the shapes .* Got .*1000000"):
        autocompress.pipeline(folder)
