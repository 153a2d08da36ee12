"""OpenVINO carries out what it says: kernels of the graph that runs, bytes of its files, labels of the simulation."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import codes_apart, context, every_family, exact_int8, fresh, tiny, toy
from test_other_models import METHODS, MODELS, model_of
from test_precisions import RECIPES
from tiny_project import SPACE, make_project
from torch import nn

import autocompress
from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.context import Context
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import input_grid, round_input, simulate
from autocompress.models.surgery import products
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving.safety.inspection import inspect
from autocompress.serving.verify import verify
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs
from autocompress.tracking import register
from autocompress.trials import work

openvino = pytest.importorskip("openvino")
quantize = importlib.import_module("autocompress.runtimes.openvino.quantize")
ops = importlib.import_module("openvino.opset13")
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
    """Of the graph that runs: what each product reads, as "inputs x weights", and each look-up's table.

    Inputs are signed where the zero point is in the middle.
    """
    counts: Counter[str] = Counter()
    for node in OPENVINO.open(folder, TARGET).compiled.get_runtime_model().get_ordered_ops():
        read = [source.get_node().get_rt_info()["outputPrecisions"].astype(str) for source in node.input_values()]
        kind = node.get_rt_info()["layerType"].astype(str)
        if kind == "FullyConnected":
            both_8 = read[0] in ("u8", "i8") and read[1] == "i8"
            counts["8 x 8 bits" if both_8 else f"{read[0]} x {read[1]}"] += 1
        elif kind == "Gather":
            counts[f"table of {read[0]}"] += 1
    return counts


@every_family
def test_the_artefact_computes_what_the_module_computes(family: str, tmp_path: Path) -> None:
    """In float32, also where the CPU has bfloat16; also for a batch and a length that the exporter did not see."""
    lowered(tiny(family), [], tmp_path, context(tiny(family)))
    np.testing.assert_allclose(run(tmp_path), torch_logits(tiny(family)), atol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_it_does_not_know_what_bert_is(kind: str, tmp_path: Path) -> None:
    lowered(model_of(kind), [], tmp_path, context(model_of(kind)))
    np.testing.assert_allclose(run(tmp_path), torch_logits(model_of(kind)), atol=1e-4)


INT8, DYNAMIC = {"8 x 8 bits": 26}, {"f32 x i8": 26, "table of i8": 1}
KERNELS = {  # of a tiny BERT: 26 products and a table, which OpenVINO unpacks on opening where there is a FakeQuantize
    "int8_static": INT8, "int8_static smooth": INT8, "int8_static percentile": INT8, "int8_dynamic": DYNAMIC,
    "int8_dynamic first_last": {"f32 x i8": 12, "f32 x f32": 14}, "mixed_precision": DYNAMIC,
    "weight_only gptq 4": {"f32 x i4": 26, "table of i4": 1}, "weight_only awq 8": DYNAMIC,
    "embedding 8": {"table of i8": 1}, "embedding 4": {"table of i4": 1}, "half": {}, "half bfloat16": {},
}  # fmt: skip


@exact_int8
@pytest.mark.parametrize("name", KERNELS)
def test_the_kernels_are_there_and_labels_are_those_of_the_simulation(name: str, tmp_path: Path) -> None:
    """It rounds where the simulation rounds: at least 99 % of labels agree, and logits within 3 % of their range."""
    ctx = context(tiny())
    changed = lowered(tiny(), RECIPES[name][0], tmp_path, ctx)
    counts = kernels(tmp_path)
    assert {kind: counts[kind] for kind in KERNELS[name]} == KERNELS[name]
    ran, expected = run(tmp_path), torch_logits(OPENVINO.simulate(changed, ctx.precision))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)
    assert np.abs(expected - torch_logits(tiny())).max() > 0, "the simulation rounds something"


@exact_int8
@pytest.mark.parametrize("last", ["int8_static", "int8_dynamic"])
def test_pruned_and_factored_models_are_quantized_too(last: str, tmp_path: Path) -> None:
    ctx = context(tiny("roberta"))
    steps = [(name, {}) for name in ("heads", "low_rank", "neurons", last)]
    changed = lowered(tiny("roberta"), steps, tmp_path, ctx)
    ran, expected = run(tmp_path), torch_logits(OPENVINO.simulate(changed, ctx.precision))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)


@exact_int8
@pytest.mark.parametrize(
    ("kind", "method"),
    [*product(["gpt2", "lstm"], METHODS), *product(["llama", "t5"], ["int8_static", "weight_only gptq"])],
)
def test_other_models_are_quantized_too(kind: str, method: str, tmp_path: Path) -> None:
    name, knobs = METHODS[method]
    model, ctx = model_of(kind), context(model_of(kind))
    lowered(model, [], tmp_path / "dense", context(model_of(kind)))
    changed = lowered(model, [(name, knobs)], tmp_path / "changed", ctx)
    assert weight_bytes(tmp_path / "changed") < weight_bytes(tmp_path / "dense")
    ran, expected = run(tmp_path / "changed"), torch_logits(OPENVINO.simulate(changed, ctx.precision))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)


@exact_int8
def test_inputs_are_rounded_at_run_time(tmp_path: Path) -> None:
    """In groups of the most numbers that all products have whole groups of: the layers' weights here are 32 and 64."""
    ctx = context(tiny())
    changed = lowered(tiny(), RECIPES["int8_dynamic"][0], tmp_path, ctx)
    option = OPENVINO.open(tmp_path, TARGET).compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
    assert option == 32
    rounded = torch_logits(OPENVINO.simulate(changed, ctx.precision))
    exact = torch_logits(simulate(changed, ctx.precision, input_groups={}))
    ran = run(tmp_path)
    assert np.abs(ran - rounded).mean() < 0.2 * np.abs(ran - exact).mean()


def test_the_group_that_saves_most_is_chosen() -> None:
    wide = nn.ModuleDict({"a": nn.Linear(256, 512), "b": nn.Linear(64, 64), "table": nn.Embedding(9, 64)})
    by_row, by_64 = Precision("int8", "dynamic_int8", per_channel=True), Precision("int4", group_size=64)
    assert quantize.input_groups(wide, PrecisionPlan({"a": by_row, "b": by_row, "table": by_row})) == {"a": 128}
    assert quantize.input_groups(wide, PrecisionPlan({"a": by_64, "b": by_row})) == {"a": 64, "b": 64}
    assert quantize.input_groups(wide, PrecisionPlan({"a": Precision("int8", "static_int8")})) == {}


SHARES = {
    "int8_dynamic": 0.36, "int8_static": 0.36, "weight_only gptq 4": 0.24, "weight_only awq 8": 0.37,
    "half": 0.53, "half bfloat16": 0.53, "embedding 8": 0.98, "embedding 4": 0.97,
}  # fmt: skip


@exact_int8
@pytest.mark.parametrize(("name", "share"), SHARES.items())
def test_the_weights_are_smaller_by_what_the_bits_say(name: str, share: float, dense: Path, tmp_path: Path) -> None:
    lowered(tiny(), RECIPES[name][0], tmp_path, context(tiny()))
    assert weight_bytes(tmp_path) < share * weight_bytes(dense)


def weight_bytes(folder: Path) -> int:
    return (OPENVINO.artefact(folder) / "model.bin").stat().st_size


def test_size_counts_the_graph_and_its_weights(dense: Path) -> None:
    graph = (OPENVINO.artefact(dense) / "model.xml").stat().st_size
    assert latency.size_mb(OPENVINO.artefact(dense)) == (graph + weight_bytes(dense)) / 1e6


class Head(nn.Module):
    """A classifier of two layers, the second of which reads `inputs` numbers."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(64, inputs), nn.Linear(inputs, 3)

    def forward(self, x_BI: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x_BI).tanh())


def with_head(inputs: int) -> nn.Module:
    model = model_of("lstm")
    model.classifier = Head(inputs).eval()
    return model


@pytest.mark.parametrize("bits", [4, 8])
def test_groups_that_do_not_divide_a_row_are_the_same_numbers(bits: int, tmp_path: Path) -> None:
    """After pruning: 40 inputs in groups of 32 are stored as five groups of 8, every scale up to four times."""
    ctx, rtn = context(with_head(40)), ("weight_only", {"bits": bits, "algorithm": "rtn"})
    changed = lowered(with_head(40), [rtn], tmp_path, ctx)
    assert quantize.input_groups(changed, ctx.precision) == {"classifier.first": 32}
    np.testing.assert_allclose(run(tmp_path), torch_logits(OPENVINO.simulate(changed, ctx.precision)), atol=1e-3)


def test_bfloat16_is_computed_in_where_the_cpu_has_it(tmp_path: Path) -> None:
    plan = PrecisionPlan(dict.fromkeys([*products(tiny()), "bert.embeddings.word_embeddings"], BFLOAT16))
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(NotApplicable, match="on CPUs with instructions for it only"):
            OPENVINO.support(plan, TARGET)
        return
    OPENVINO.support(plan, TARGET)
    OPENVINO.lower(tiny(), plan, toy().batch([0]), tmp_path)
    assert kernels(tmp_path)["bf16 x bf16"] >= 24
    error = np.abs(run(tmp_path) - torch_logits(tiny())).max()
    assert 1e-4 < error < 0.02 * np.ptp(torch_logits(tiny()))


def test_the_simulation_rounds_a_million_inputs_to_the_codes_of_the_kernel() -> None:
    """Through a product with the identity; x / s + z in two steps would differ in a few."""
    x_NI = 2 * torch.randn(60_000, 64, generator=torch.Generator().manual_seed(0))
    scale, zero = input_grid(x_NI.amin(), x_NI.amax())
    low, high = quantize.ends(scale, zero)
    given, eye = ops.parameter([-1, 64], np.float32), ops.constant(np.eye(64, dtype=np.int8))
    product = ops.matmul(ops.fake_quantize(given, low, high, low, high, 256), ops.convert(eye, np.float32), False, True)
    compiled = openvino.Core().compile_model(openvino.Model([ops.result(product)], [given]), "CPU")
    ran_NI = torch.from_numpy(compiled(x_NI.numpy())[0].copy())
    assert codes_apart(ran_NI, quantize.on_grid(x_NI, scale, zero), scale) == 0
    assert codes_apart(ran_NI, round_input(x_NI, scale, zero), scale) > 0


BFLOAT16 = Precision("bfloat16", "bfloat16")
REFUSED = {
    "int4 weights with dynamic_int8 inputs": {"classifier": Precision("int4", "dynamic_int8")},
    "inputs of classifier token by token: per_token must be true": {"classifier": Precision("int8", "dynamic_int8")},
    "float16 weights with float16 inputs": {"classifier": Precision("float16", "float16")},
    "classifier computes in bfloat16, which is all of a model or nothing": {
        "classifier": BFLOAT16, "pre_classifier": Precision("int8"),
    },
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_what_it_has_no_kernels_for_is_refused(said: str) -> None:
    with pytest.raises(NotApplicable, match=said):
        OPENVINO.support(PrecisionPlan(REFUSED[said]), TARGET)


def test_a_device_that_it_does_not_run_on_is_refused() -> None:
    with pytest.raises(NotApplicable, match="openvino runs on cpu only"):
        OPENVINO.support(PrecisionPlan(), Target(runtime="openvino", device="cuda"))


def test_inputs_are_not_rounded_at_run_time_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PrecisionPlan({"classifier": Precision("int8", "dynamic_int8", per_token=True)})
    OPENVINO.support(PrecisionPlan({"classifier": Precision("int8", "static_int8")}), TARGET)
    monkeypatch.setattr("autocompress.runtimes.openvino.runtime.has_vnni", lambda: False)
    with pytest.raises(NotApplicable, match="on CPUs with VNNI only"):
        OPENVINO.support(plan, TARGET)


@pytest.mark.parametrize(("weight", "inputs"), [("int4", 33), ("int8", 36)])
def test_rows_that_no_kernel_reads_are_refused(weight: str, inputs: int, tmp_path: Path) -> None:
    """Fewer than 8 weights a scale would store more scales than codes; an odd row of 4 bits begins within a byte."""
    plan = PrecisionPlan({"classifier.second": Precision(weight, group_size=32)})
    with pytest.raises(NotApplicable, match=f"no {weight} kernel for the {inputs} inputs of classifier.second"):
        OPENVINO.lower(with_head(inputs), plan, toy().batch([0]), tmp_path)


def test_one_thread_is_the_caller_s_own(tmp_path: Path) -> None:
    """So that the thread's own CPU time, which latency is measured by, is all that the process spends."""
    torch.manual_seed(0)
    model = fresh(tiny())
    model.classifier = nn.Sequential(nn.Linear(32, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 3)).eval()
    lowered(model, [], tmp_path, context(tiny()))
    session, spent = OPENVINO.open(tmp_path, TARGET), {}
    session.run(PADDED)

    def timed() -> None:
        clocks = (time.thread_time, time.process_time)
        before = [clock() for clock in clocks]
        for _ in range(20):
            session.run(PADDED)
        spent["thread"], spent["process"] = (clock() - start for clock, start in zip(clocks, before, strict=True))

    worker = threading.Thread(target=timed)
    worker.start()
    worker.join()
    assert spent["thread"] > 0.8 * spent["process"] > 0


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in float32, lowered; to be read only."""
    folder = tmp_path_factory.mktemp("dense")
    OPENVINO.lower(tiny(), PrecisionPlan(), toy().batch([0]), folder)
    return folder


@pytest.fixture
def given(tmp_path: Path, dense: Path) -> Path:
    """A stored folder of another runtime with an OpenVINO model beside it."""
    folder = Path(shutil.copytree(Path(__file__).parent / "stored" / "format-1", tmp_path / "given"))
    return Path(shutil.copytree(dense, folder, dirs_exist_ok=True))


def test_a_sound_folder_is_let_in(given: Path) -> None:
    inspect(given)


def _in_graph(pattern: str, replacement: str) -> Callable[[Path], None]:
    def spoil(ir: Path) -> None:
        text = (ir / "model.xml").read_text()
        assert re.search(pattern, text)
        (ir / "model.xml").write_text(re.sub(pattern, replacement, text, count=1))

    return spoil


WEIGHTS = "should name constants that lie in its"
SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "operators of a library": (
        _in_graph('type="MatMul" version="opset1"', 'type="Shell" version="evil"'),
        r"model\.xml should use the operators of OpenVINO only\. Got the set 'evil'\.",
    ),
    "a constant beyond the weights": (_in_graph('offset="0"', 'offset="99999999"'), WEIGHTS),
    "a constant before the weights": (_in_graph('offset="0"', 'offset="-4"'), WEIGHTS),
    "a constant larger than its bytes": (_in_graph('shape="32, 32"', 'shape="32, 99999999999"'), WEIGHTS),
    "no weights": (lambda ir: (ir / "model.bin").write_bytes(b""), WEIGHTS),
    "entities that grow": (
        _in_graph("<net ", '<!DOCTYPE n [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><net '),
        r"model\.xml should hold a graph only\. Got a declaration\. Export the model again\.",
    ),
    "another document": (
        lambda ir: (ir / "model.xml").write_text("<svg></svg>"),
        r"model\.xml should be an OpenVINO model\. Got other text\. Export the model again\.",
    ),
    "half a document": (
        lambda ir: (ir / "model.xml").write_text((ir / "model.xml").read_text()[:9000]),
        r"model\.xml should be an OpenVINO model\. Got other text\. Export the model again\.",
    ),
    "weights without a graph": (
        lambda ir: (ir / "model.xml").unlink(),
        r"model\.bin should not be here: \.bin files hold pickles, which run code\. Remove it\.",
    ),
    "other weights beside it": (
        lambda ir: (ir / "pytorch_model.bin").write_bytes(b"x"),
        r"pytorch_model\.bin should not be here: \.bin files hold pickles, which run code\. Remove it\.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", SPOILT)
def test_a_stranger_s_graph_is_refused_in_a_sentence(wrong: str, given: Path) -> None:
    spoil, said = SPOILT[wrong]
    spoil(given / "openvino")
    with pytest.raises(ConfigError, match=f"openvino/.*{said}"):
        inspect(given)


SEARCHED = (
    SPACE.replace("runtime: onnxruntime", "runtime: openvino").split("anchors:")[0]
    + """\
objectives: {score: maximize, archive_mb: minimize}
steps:
  - layers: {keep: 0.5, strategy: top}
  - finetune: {epochs: 2, lr: 1e-2, batch_size: 32, freeze_embeddings: false}
  - int8_static: {smooth: 0, observer: minmax, exclude: none}
"""
)
LIGHT = """
import sys, autocompress
print(autocompress.pipeline(sys.argv[1])("honey tree")[0]["label"])
print(sorted({"datasets", "mlflow", "onnx", "onnxruntime", "optuna", "torch", "transformers"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_whole_search(tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It searches, exports, serves without torch, verifies itself and says what it needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    study = autocompress.search(make_project(tmp_path, SEARCHED), trials=1)
    [best] = study.front
    folder = study.export(tmp_path / "out")
    work.loaded.cache_clear()
    assert sorted(file.name for file in (folder / "openvino").iterdir()) == ["model.bin", "model.xml"]
    assert best.measurement["size_mb"] == latency.size_mb(folder / "openvino")
    assert best.measurement["size_mb"] < 0.7 * study.baseline.measurement["size_mb"], "the graph alone is 0.1 MB"
    assert 0 < best.measurement["archive_mb"] < best.measurement["size_mb"]
    done = subprocess.run([sys.executable, "-c", LIGHT, folder], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["sweet", "[]"], done.stderr
    checks = {check.quantity: check for check in verify(folder)}
    assert checks["score"].agrees
    assert checks["size_mb"].agrees
    said = (folder / "README.md").read_text()
    assert "`openvino` needs no autocompress: any OpenVINO runs it" in said
    assert f"openvino {version('openvino')}" in said
    assert "openvino" in register._card(study, best, folder).packages
    assert not any(str(tmp_path) in file.read_text() for file in folder.rglob("*.xml"))


def test_a_runtime_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "autocompress.runtimes.openvino.runtime")
    with pytest.raises(ConfigError) as caught:
        find_runtime("openvino")
    assert str(caught.value) == ("target.runtime: openvino is not installed. Run: pip install 'autocompress[openvino]'")
