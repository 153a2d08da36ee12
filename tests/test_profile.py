"""A model taken apart, against what can be worked out by hand; and what the profile makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_decoder
import torch
from conftest import context, every_family, fresh, tiny, toy
from test_other_models import every_model, model_of
from tiny_project import make_project
from torch import nn
from transformers import GPT2LMHeadModel

from autocompress.cli import profiling as command
from autocompress.errors import AutocompressError, ConfigError, NotApplicable
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.profiling import profile as profiles
from autocompress.profiling.kinds import KINDS
from autocompress.profiling.parts import Part, take_apart
from autocompress.profiling.profile import Profile, profile
from autocompress.profiling.savings import savings
from autocompress.profiling.speeds import Speeds, speeds
from autocompress.profiling.subject import find_subject
from autocompress.profiling.table import kind_rows, roof_rows, saving_rows, sentences
from autocompress.runtimes.flops import measure_module
from autocompress.runtimes.latency import latency_batch
from autocompress.runtimes.runtime import find_runtime, find_tracer
from autocompress.space.method import find, methods
from autocompress.space.settings import Target

B, T = 3, 12
LAYERS, D, HEADS, NEURONS, C, VOCABULARY, POSITIONS = 4, 32, 4, 64, 3, 60, 40  # of the tiny models
TARGET = Target(batch_size=B, sequence_length=T)
BATCH = latency_batch(toy(), TARGET)
SPEEDS = Speeds(float32=100.0, int8=400.0, memory=20.0)
STORED = Path(__file__).parent / "stored" / "format-1"


def by_kind(model: nn.Module, plan: PrecisionPlan | None = None) -> dict[str, list[Part]]:
    parts, _ = take_apart(model, plan or PrecisionPlan(), BATCH)
    return {kind: [part for part in parts if part.kind == kind] for kind in KINDS}


def totals(parts: dict[str, list[Part]], field: str) -> dict[str, float]:
    summed = {kind: sum(getattr(part, field) for part in held) for kind, held in parts.items()}
    return {kind: total for kind, total in summed.items() if total}


def test_parameters_bytes_and_multiply_adds_of_a_bert() -> None:
    parts = by_kind(tiny())
    held = {
        "embeddings": (VOCABULARY + POSITIONS + 2) * D,
        "attention projections": LAYERS * 4 * (D * D + D),
        "feed-forward": LAYERS * (2 * D * NEURONS + NEURONS + D),
        "norms": (1 + 2 * LAYERS) * 2 * D,
        "head": D * D + D + D * C + C,
    }
    assert totals(parts, "parameters") == held
    assert totals(parts, "bytes") == {kind: 4 * count for kind, count in held.items()}
    assert totals(parts, "flops") == {
        "attention projections": 2 * B * LAYERS * T * 4 * D * D,
        "attention products": 2 * B * LAYERS * 2 * T * T * D,
        "feed-forward": 2 * B * LAYERS * T * 2 * D * NEURONS,
        "head": 2 * B * (D * D + D * C),
    }


def test_bytes_that_products_read_and_write() -> None:
    """Each operand and each result once."""
    rows = B * T
    moved = {
        "attention projections": LAYERS * 4 * (D * D + 2 * rows * D),
        "attention products": LAYERS * B * (4 * T * D + 2 * HEADS * T * T),
        "feed-forward": LAYERS * 2 * (D * NEURONS + rows * (D + NEURONS)),
        "head": D * D + 2 * B * D + D * C + B * (D + C),
    }
    assert totals(by_kind(tiny()), "moved") == {kind: 4 * numbers for kind, numbers in moved.items()}


def test_bytes_under_a_plan() -> None:
    model, ctx = tiny(), context(tiny())
    find("int8_dynamic")().apply(model, ctx)
    parts, plain = by_kind(model, ctx.precision), by_kind(model)
    assert sum(p.bytes for p in parts["attention projections"]) == LAYERS * 4 * (
        D * D + 4 * D + 4 * D
    )  # scales, biases
    assert all(p.integer for kind in ("attention projections", "feed-forward", "head") for p in parts[kind])
    assert not any(p.integer for p in (*parts["attention products"], *plain["feed-forward"]))
    saved = totals(plain, "moved")["feed-forward"] - totals(parts, "moved")["feed-forward"]
    assert saved == LAYERS * (2 * D * NEURONS * 3 - 4 * (NEURONS + D))
    groups = PrecisionPlan({"bert.encoder.layer.0.output.dense": Precision("int4", group_size=32)})
    [part] = [p for p in by_kind(model, groups)["feed-forward"] if p.path in groups]
    assert part.bytes == D * NEURONS / 2 + 4 * D * NEURONS / 32 + 4 * D


def test_what_is_pruned_is_gone_and_pairs_are_what_they_stand_for() -> None:
    model = tiny()
    pruned = find("heads")(keep=0.5).apply(fresh(model), context(model))
    thin = find("low_rank")(keep=0.5).apply(fresh(model), context(model))
    before, flops = (totals(by_kind(m), "flops") for m in (model, pruned))
    assert flops["attention projections"] == before["attention projections"] / 2
    assert flops["attention products"] == before["attention products"] / 2
    assert flops["feed-forward"] == before["feed-forward"]
    factored = totals(by_kind(thin), "flops")
    assert factored.keys() == before.keys()
    assert factored["feed-forward"] < before["feed-forward"]


@every_family
def test_every_family_has_the_same_kinds(family: str) -> None:
    flops = totals(by_kind(tiny(family)), "flops")
    assert flops == totals(by_kind(tiny()), "flops")
    assert "other" not in totals(by_kind(tiny(family)), "parameters")


@every_model
def test_other_models_are_taken_apart_too(kind: str) -> None:
    model = model_of(kind)
    batch = latency_batch(toy(), Target(sequence_length=T))
    parts, _ = take_apart(model, PrecisionPlan(), batch)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.parameters())
    assert sum(part.flops for part in parts) == measure_module(model, batch)["flops"]
    held = {part.kind for part in parts if part.parameters}
    multiplies = {part.kind for part in parts if part.flops and part.kind != "other"}  # Llama's rotations are products
    if kind == "lstm":
        assert held == {"embeddings", "recurrent", "head"}
        assert multiplies == {"recurrent", "head"}
    else:
        assert held == {"embeddings", "attention projections", "feed-forward", "norms", "head"}
        assert multiplies == {"attention projections", "attention products", "feed-forward", "head"}


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_runtimes_tell_what_their_pieces_take(runtime: str, tmp_path: Path) -> None:
    model, trace = tiny(), find_tracer(runtime)
    assert trace is not None
    find_runtime(runtime).lower(model, PrecisionPlan(), BATCH, tmp_path)
    pieces = trace(tmp_path, TARGET, BATCH)
    _, kinds = take_apart(model, PrecisionPlan(), BATCH)
    assert {kinds.of(piece.path, piece.operator) for piece in pieces} >= {*KINDS} - {"recurrent", "other"}
    paths = {piece.path for piece in pieces}
    assert {path for path, m in model.named_modules() if isinstance(m, nn.Linear) and ".layer." in path} <= paths
    if runtime == "onnxruntime":  # fused into nodes with names of their own
        assert {kinds.of(p.path, p.operator) for p in pieces if p.operator == "BiasGelu"} == {"activations"}


@pytest.mark.parametrize("per_token", [True, False])
def test_rounding_the_input_belongs_to_the_product(per_token: bool, tmp_path: Path) -> None:
    model, ctx, trace = tiny(), context(tiny()), find_tracer("onnxruntime")
    find("int8_dynamic")(per_token=per_token).apply(model, ctx)
    find_runtime("onnxruntime").lower(model, ctx.precision, BATCH, tmp_path)
    _, kinds = take_apart(model, ctx.precision, BATCH)
    assert trace is not None
    rounding = [p for p in trace(tmp_path, TARGET, BATCH) if p.operator in ("DynamicQuantizeLinear", "QuantizeLinear")]
    products = {"attention projections", "feed-forward", "head"} if per_token else {"attention projections"}
    assert {kinds.of(p.path) for p in rounding} == products, "by batch, others are fused with their product"


@every_model
def test_other_models_have_every_node_in_its_place(kind: str, tmp_path: Path) -> None:
    model, trace = model_of(kind), find_tracer("onnxruntime")
    batch = latency_batch(toy(), Target(sequence_length=T))
    find_runtime("onnxruntime").lower(model, PrecisionPlan(), batch, tmp_path)
    parts, kinds = take_apart(model, PrecisionPlan(), batch)
    assert trace is not None
    timed = {kinds.of(piece.path, piece.operator) for piece in trace(tmp_path, Target(), batch)}
    assert timed >= {part.kind for part in parts}


def profiled(folder: Path, plan: PrecisionPlan | None = None) -> Profile:
    model, runtime = tiny(), find_runtime("onnxruntime")
    runtime.lower(model, plan or PrecisionPlan(), BATCH, folder)
    return profile("tiny", model, plan or PrecisionPlan(), folder, BATCH, TARGET, SPEEDS)


def test_a_profile_adds_up_and_survives_json(tmp_path: Path) -> None:
    found = profiled(tmp_path)
    assert sum(row.share or 0.0 for row in found.kinds) == pytest.approx(1)
    for field in ("parameters", "bytes", "multiply_adds", "needed_ms"):
        assert sum(getattr(row, field) for row in found.kinds) == pytest.approx(getattr(found.all, field))
    assert sum(row.latency_ms or 0.0 for row in found.kinds) == pytest.approx(found.all.latency_ms)
    assert found.all.needed_ms == pytest.approx(2 * found.all.multiply_adds / SPEEDS.float32 / 1e6)
    assert found.all.times_needed == pytest.approx(found.all.latency_ms / found.all.needed_ms)
    assert found.all.bytes / 1e6 < found.size_mb, "the file holds the graph as well"
    assert Profile.model_validate_json(found.model_dump_json()) == found
    assert [row[0] for row in kind_rows(found)] == [*(row.kind for row in found.kinds), "all"]
    assert {row[0] for row in roof_rows(found)} == {
        "attention projections", "attention products", "feed-forward", "head", "all"
    }  # fmt: skip
    assert len(list(saving_rows(found))) == len(found.savings)


def test_what_multiplies_in_8_bits_needs_less(tmp_path: Path) -> None:
    model, ctx = tiny(), context(tiny())
    find("int8_dynamic")().apply(model, ctx)
    plain, rounded = profiled(tmp_path / "plain"), profiled(tmp_path / "rounded", ctx.precision)
    needed = [{row.kind: row.needed_ms for row in found.kinds} for found in (plain, rounded)]
    assert needed[1]["feed-forward"] == needed[0]["feed-forward"] / 4
    assert needed[1]["attention products"] == needed[0]["attention products"]
    assert rounded.size_mb < plain.size_mb


def test_a_runtime_that_does_not_tell_gives_no_latency_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "find_tracer", lambda name: None)
    found = profiled(tmp_path)
    assert found.all.latency_ms
    assert [(row.latency_ms, row.share, row.gflops, row.times_needed) for row in found.kinds] == [(None,) * 4] * 6
    assert sentences(found)[-1] == "The onnxruntime runtime does not tell what its pieces take: no latency by kind."
    assert all(row.latency is None or row.latency == 0 for row in found.savings)
    assert list(saving_rows(found))
    assert find_tracer("none such") is None


SHARES = {
    "attention projections": 0.3, "attention products": 0.1, "feed-forward": 0.5, "activations": 0.04, "norms": 0.03,
    "head": 0.02, "embeddings": 0.01, "recurrent": 0.0, "other": 0.0,
}  # fmt: skip


def test_savings_are_what_goes_if_all_goes() -> None:
    model, wide = tiny(), latency_batch(toy(), Target(batch_size=1000, sequence_length=T))
    parts, _ = take_apart(model, PrecisionPlan(), wide)  # so many rows that no product waits for memory
    held = totals(by_kind(model), "bytes")
    whole = sum(held.values())
    found = {s.what: s for s in savings(model, parts, SHARES, Speeds(float32=100.0, int8=400.0, memory=1e9), TARGET)}
    bounds = {what: saving.latency for what, saving in found.items()}
    assert bounds == pytest.approx({
        "all layers": 0.97, "all heads": 0.4, "all neurons": 0.54, "all linears": 0.8, "all to 8 bits": 0.82 * 0.75,
        "all to 4 bits": 0.82 * 0.75, "tables to 4 bits": 0.0, "one layer only": 0.0, "all its products": 0.1,
        "wins back score": 0.0,
    })  # fmt: skip
    linears = held["attention projections"] + held["feed-forward"]
    assert found["all linears"].bytes == pytest.approx(linears / whole)
    assert found["one layer only"].bytes == pytest.approx(0.75 * (linears + held["norms"]) / whole)
    assert found["tables to 4 bits"].bytes == pytest.approx(held["embeddings"] * 7 / 8 / whole)
    families = {s.family for s in found.values()}
    assert {s.family for s in found.values() if s.exists} == families & {m.family for m in methods().values()}
    assert {m.family for m in methods().values()} - families == {"training"}


def test_where_memory_is_waited_for_fewer_bytes_are_less_time() -> None:
    parts, _ = take_apart(tiny(), PrecisionPlan(), latency_batch(toy(), Target(sequence_length=4)))
    found = savings(tiny(), parts, SHARES, Speeds(float32=100.0, int8=None, memory=0.01), TARGET)
    bounds = {saving.what: saving.latency for saving in found}
    assert 0 < bounds["all to 8 bits"] < bounds["all to 4 bits"] < 0.82


def test_an_exported_folder_is_profiled_as_it_is() -> None:
    subject = find_subject("format-1", STORED.parent)
    assert subject.artefact == STORED
    assert subject.target == Target(**json.loads((STORED / "serving.json").read_text())["target"])
    found = subject.profile(SPEEDS)
    assert found.size_mb == (STORED / "model.onnx").stat().st_size / 1e6
    assert len(subject.plan) > 0
    assert any(part.integer for part in take_apart(subject.module, subject.plan, subject.batch())[0])


def test_a_decoder_is_profiled_with_its_own_head(tmp_path: Path) -> None:
    tiny_decoder.make_project(tmp_path)
    subject = find_subject("./model", tmp_path, sequence_length=16)
    assert isinstance(subject.module, GPT2LMHeadModel)
    (head,) = (part for part in take_apart(subject.module, subject.plan, subject.batch())[0] if part.kind == "head")
    assert head.flops == 2 * 16 * 32 * (len(tiny_decoder.WORDS) + 3)  # every token is asked for the next one


def test_an_exported_folder_on_another_runtime_is_lowered_anew() -> None:
    subject = find_subject("format-1", STORED.parent, runtime="torch")
    assert subject.artefact is None
    found = subject.profile(SPEEDS)
    assert sum(row.share or 0.0 for row in found.kinds) == pytest.approx(1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_target_that_cannot_run_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^profile: the target should be one that runs this model\. .*cuda"):
        find_subject("format-1", STORED.parent, device="cuda").profile(SPEEDS)


def test_a_compiled_module_is_one_piece(tmp_path: Path) -> None:
    trace, target = find_tracer("torch"), Target(runtime="torch", compile=True)
    assert trace is not None
    with pytest.raises(NotApplicable, match="a compiled module runs as one piece"):
        trace(tmp_path, target, BATCH)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project")).parent


def run(project: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    given = dict.fromkeys(
        ("target", "runtime", "compile", "device", "threads", "batch_size", "sequence_length", "picture")
    )
    monkeypatch.chdir(project)
    command.profile(**{"model": "./model", **given, **options})


@pytest.mark.slow
def test_the_command_prints_tables_json_and_a_picture(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("autocompress.profiling.subject.speeds", lambda target: SPEEDS)
    run(project, monkeypatch, target=Path("space.yaml"), batch_size=2, picture=Path("p.svg"), as_json=True)
    found = Profile.model_validate_json(capsys.readouterr().out)
    assert found.target == Target(runtime="onnxruntime", threads=1, sequence_length=16, batch_size=2)
    assert "roofline" in (project / "p.svg").read_text()
    monkeypatch.setenv("COLUMNS", "80")
    run(project, monkeypatch, runtime="torch", sequence_length=8)
    said = capsys.readouterr().out
    assert "./model on torch, cpu, one thread, one text of 8 tokens: " in said
    assert "\nattention projections  " in said
    assert "sharing" in said
    assert "(sharing)" not in said  # the catalogue has methods of that family
    assert max(map(len, said.split("\n"))) <= 110
    assert all(len(line) <= 80 for line in said.split("\n") if line.startswith(("│", "┃")))


def test_a_checkpoint_is_profiled_on_as_many_tokens_as_it_reads(project: Path) -> None:
    assert find_subject("model", project).target == Target(sequence_length=32)
    assert find_subject("model", project, Target(threads=3), batch_size=2).target == Target(threads=3, batch_size=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"picture": Path("p.html")}, "--picture: should be a file that ends in .svg, .png, .pdf. Got 'p.html'."),
        ({"picture": Path("no/p.svg")}, "--picture: should be in a folder that exists. Got 'no/p.svg'."),
        (
            {"model": "./none"},
            "model: must be a folder that exists, or a hub id like namespace/name. Got './none', that is HERE/none.",
        ),
        ({"runtime": "torhc"}, "profile: target.runtime may not be 'torhc'. Did you mean 'torch'?"),
        ({"threads": 0}, "profile: target.threads should be greater than or equal to 1. Got 0."),
        (
            {"sequence_length": 100},
            "target.sequence_length: must be at most 32, which is what this model reads. Got 100.",
        ),
    ],
)
def test_wrong_input_is_one_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(AutocompressError) as caught:
        run(project, monkeypatch, **options)
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value) == sentence.replace("HERE", str(project))


@pytest.mark.slow
def test_the_runtimes_own_speeds() -> None:
    for target in (Target(), Target(runtime="torch")):
        found = speeds(target)
        int8 = 1.0 if found.int8 is None else found.int8  # torch has it on x86 only
        assert min(found.float32, int8, found.memory) > 0
        assert found.ridge == found.float32 / found.memory
