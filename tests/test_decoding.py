"""Models that continue texts, run token by token: what they remember, how texts go on, and what their files hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_decoder
import torch
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.decomposition.low_rank import LowRank
from autocompress.methods.pruning.heads import Heads
from autocompress.methods.pruning.layers import Layers
from autocompress.methods.pruning.neurons import Neurons
from autocompress.methods.quantization.codebook import Codebook
from autocompress.methods.quantization.embedding import Embedding
from autocompress.methods.quantization.half import Half
from autocompress.methods.quantization.int8_dynamic import Int8Dynamic
from autocompress.methods.quantization.qat import Qat
from autocompress.methods.quantization.ternary import Ternary
from autocompress.methods.quantization.weight_only import WeightOnly
from autocompress.models import attentions, storage
from autocompress.models.attentions.block_sparse import BlockPattern
from autocompress.models.attentions.linear import LinearPattern
from autocompress.models.attentions.pattern import Pattern
from autocompress.models.attentions.sliding_window import WindowPattern
from autocompress.models.decoders.decoding import decodes, reads_ahead
from autocompress.models.decoders.remembered import past_of
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.continued import continued
from autocompress.runtimes.runtime import Session, find_runtime
from autocompress.runtimes.workloads import ratios, references
from autocompress.serving.continuation import continuations
from autocompress.space.settings import Target, TaskSettings
from autocompress.tasks import kinds

FAMILIES: dict[str, Callable[[], nn.Module]] = {"gpt2": tiny_decoder.gpt2, "llama": tiny_decoder.llama}
RUNTIMES = ["onnxruntime", "torch", "openvino"]
EXAMPLE = {"input_ids": torch.arange(3, 15)[None] % 15, "attention_mask": torch.ones(1, 12, dtype=torch.long)}


def opened(model: nn.Module, runtime: str, folder: Path, plan: PrecisionPlan | None = None) -> Session:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    found = find_runtime(runtime)
    found.lower(model, plan or PrecisionPlan(), EXAMPLE, folder)
    return found.open(folder, Target(runtime=runtime, sequence_length=12))


def texts(rows: int, length: int) -> torch.Tensor:
    return torch.randint(3, 15, (rows, length), generator=torch.Generator().manual_seed(length))


def plain(model: nn.Module, ids: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=ids).logits.numpy()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_read_alone_is_answered_as_at_the_end_of_all(family: str, runtime: str, tmp_path: Path) -> None:
    model, ids = FAMILIES[family](), texts(3, 9)
    session, whole = opened(model, runtime, tmp_path), plain(model, ids)
    read = np.ones((3, 9), np.int64)
    assert np.abs(session.run({"input_ids": ids, "attention_mask": read}) - whole).max() < 1e-4
    outputs: dict[str, Any] = {}
    for begin, end in ((0, 5), (5, 6), (6, 9)):
        batch = {"input_ids": ids[:, begin:end], "attention_mask": read[:, :end]}
        outputs = session.outputs({**batch, **past_of(outputs)})
        assert np.abs(outputs["logits"] - whole[:, begin:end]).max() < 1e-4
    assert len(past_of(outputs)) == 6
    heads = {"gpt2": 4, "llama": 2}[family]
    assert all(tuple(tensor.shape) == (3, heads, 9, 8) for tensor in past_of(outputs).values())
    last = session.run({"input_ids": ids, "attention_mask": read, "asked": np.array([8])})
    assert np.abs(last - whole[:, -1:]).max() < 1e-4


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
@pytest.mark.parametrize("pattern", [WindowPattern(2, 1), BlockPattern(2, 1, 1), LinearPattern("elu")])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pattern_reads_a_token_alone_as_at_the_end_of_all(
    family: str, pattern: Pattern, runtime: str, tmp_path: Path
) -> None:
    model, ids = FAMILIES[family](), texts(2, 9)
    dense = plain(model, ids)
    attentions.install(model, pattern)
    session, whole = opened(model, runtime, tmp_path), plain(model, ids)
    assert np.abs(whole - dense).max() > 1e-3
    outputs: dict[str, Any] = {}
    for begin, end in ((0, 5), (5, 6), (6, 9)):
        batch = {"input_ids": ids[:, begin:end], "attention_mask": np.ones((2, end), np.int64)}
        outputs = session.outputs({**batch, **past_of(outputs)})
        assert np.abs(outputs["logits"] - whole[:, begin:end]).max() < 1e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_fills_a_row_up_changes_no_answer(runtime: str, tmp_path: Path) -> None:
    model, ids = tiny_decoder.gpt2(), texts(1, 6)
    session, whole = opened(model, runtime, tmp_path), plain(model, ids)
    for before, behind in ((3, 0), (0, 3), (2, 2)):
        row = np.pad(ids.numpy(), ((0, 0), (before, behind)), constant_values=tiny_decoder.PAD)
        other = texts(1, row.shape[1]).numpy()
        read = np.pad(np.ones((1, 6), np.int64), ((0, 0), (before, behind)))
        batch = {"input_ids": np.vstack([row, other]), "attention_mask": np.vstack([read, np.ones_like(read)])}
        assert np.abs(session.run(batch)[:1, before : before + 6] - whole).max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_go_on_as_transformers_generates_them(family: str, tmp_path: Path) -> None:
    model: Any = FAMILIES[family]()
    session = opened(model, "onnxruntime", tmp_path)
    prompts = [texts(1, length)[0].tolist() for length in (3, 5, 8, 4)]
    found = continuations(session, prompts, 8, frozenset({tiny_decoder.END}), 32)
    for prompt, new in zip(prompts, found, strict=True):
        options = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": tiny_decoder.END}
        whole = model.generate(torch.tensor([prompt]), pad_token_id=tiny_decoder.PAD, **options)[0].tolist()
        assert new == [token for token in whole[len(prompt) :] if token != tiny_decoder.END]


def test_texts_end_where_they_must() -> None:
    class Counting:
        """What follows a token is the next higher one."""

        longest = 0

        def outputs(self, batch: Any) -> dict[str, Any]:
            self.longest = max(self.longest, batch["attention_mask"].sum(-1).max())
            return {"logits": np.eye(40)[np.asarray(batch["input_ids"])[:, -1:] + 1]}

    session: Any = Counting()
    prompts = [[5], [1, 2, 3], [1, 7], [4, 4, 4, 4]]
    found = continuations(session, prompts, 4, frozenset({9}), 5)
    assert found == [[6, 7, 8], [4, 5, 6], [8], [5, 6]], "an end, what can be read, an end, what can be read"
    assert session.longest == 5
    assert continuations(session, [[5]], 1, frozenset(), 5) == [[6]]


def test_cut_models_come_back_and_go_on(tmp_path: Path) -> None:
    from conftest import context

    steps = (Layers(keep=0.67), Heads(keep=0.5), Neurons(keep=0.5, multiple=8), LowRank(keep=0.5))
    for family, make in FAMILIES.items():
        model = make()
        ctx = context(copy.deepcopy(model))
        ctx.kind = kinds.of(TaskSettings(kind="causal-lm", data="none"))
        ctx.calibration = [EXAMPLE | {"labels": EXAMPLE["input_ids"]}]
        for step in steps:
            model = step.apply(model, ctx)
        storage.save(model, tmp_path / family)
        again, ids = storage.load(tmp_path / family), texts(2, 7)
        assert np.array_equal(plain(again, ids), plain(model, ids))
        assert again.lm_head.weight is again.get_input_embeddings().weight
        session = opened(again, "onnxruntime", tmp_path / f"{family}.onnx")
        before = {"input_ids": ids[:, :6], "attention_mask": torch.ones(2, 6, dtype=torch.long)}
        batch = {"input_ids": ids[:, 6:], "attention_mask": torch.ones(2, 7, dtype=torch.long)}
        assert np.abs(continued(session, before).run(batch) - plain(model, ids)[:, 6:]).max() < 1e-4


PLANS = {"float32": PrecisionPlan, "int8": lambda: planned(Int8Dynamic())[1], "half": lambda: planned(Half())[1]}


def planned(method: Any) -> tuple[nn.Module, PrecisionPlan]:
    """A Llama after a method, and what is planned for it."""
    from conftest import context

    model = tiny_decoder.llama(vocab_size=600)
    ctx = context(copy.deepcopy(model))
    ctx.calibration = [EXAMPLE]
    changed = method.apply(model, ctx)
    for schedule in ctx.schedules:  # as a training of no step
        schedule.begin(changed, 1)
        schedule.settle(changed)
    return changed, ctx.precision


ROUNDED: dict[str, tuple[Any, float]] = {  # and how near the runtimes come: other codes where inputs are rounded
    "gptq": (WeightOnly(), 1e-3), "awq": (WeightOnly(bits=8, algorithm="awq"), 1e-3),
    "embedding": (Embedding(), 1e-3), "codebook": (Codebook(), 1e-3), "ternary": (Ternary(), 1e-3),
    "qat": (Qat(), 0.3),
}  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ROUNDED)
def test_a_table_and_the_head_that_it_is_too_are_rounded_apart(name: str, runtime: str, tmp_path: Path) -> None:
    method, near = ROUNDED[name]
    (model, plan), ids = planned(method), texts(2, 7)
    if runtime == "openvino" and name in ("codebook", "ternary"):
        with pytest.raises(NotApplicable, match=r"^openvino has no kernels on cpu for (codebook|ternary) weights"):
            find_runtime(runtime).support(plan, Target(runtime=runtime))
        return
    session = opened(model, runtime, tmp_path, plan)
    simulated = plain(find_runtime(runtime).simulate(model, plan), ids)
    before = {"input_ids": ids[:, :6], "attention_mask": torch.ones(2, 6, dtype=torch.long)}
    batch = {"input_ids": ids[:, 6:], "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    assert np.abs(session.run(before) - simulated[:, :6]).max() < near
    assert np.abs(continued(session, before).run(batch) - simulated[:, 6:]).max() < near


@pytest.mark.parametrize("precision", PLANS)
def test_a_table_that_is_the_head_too_is_stored_once(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where products saturate the head has other codes than the table
    monkeypatch.setattr("autocompress.runtimes.onnxruntime.runtime.products_saturate", lambda: False)
    model, ids = tiny_decoder.llama(vocab_size=600), texts(2, 7)
    session = opened(model, "onnxruntime", tmp_path, PLANS[precision]())
    weights = onnx.load(tmp_path / "model.onnx").graph.initializer
    assert [list(w.dims) for w in weights if 600 in w.dims and len(w.dims) > 1 and min(w.dims) > 1] == [[600, 32]]
    ran, whole = session.run({"input_ids": ids, "attention_mask": torch.ones_like(ids)}), plain(model, ids)
    assert np.corrcoef(ran.ravel(), whole.ravel())[0, 1] > (0.9 if precision == "int8" else 0.9999)


def test_both_runs_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_FEWEST", 4)
    monkeypatch.setattr(latency, "_MOST_SECONDS", 0.1)
    model, target = tiny_decoder.gpt2(), Target(sequence_length=12)
    session = opened(model, "onnxruntime", tmp_path)
    runs = kinds.of(TaskSettings(kind="causal-lm", data="none")).workloads(EXAMPLE)
    assert [run.name for run in runs] == ["first_token", "next_token"]
    found = ratios(session, session, runs, target)
    assert all(found[f"{name}_low"] < found[name] < found[f"{name}_high"] for name in ("speedup", "token_speedup"))
    milliseconds = references(session, runs, target)
    assert set(milliseconds) == {"", "token_"}
    assert all(ms > 0 for ms in milliseconds.values())


def test_what_reads_in_both_directions_is_told(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    bert = BertLMHeadModel(BertConfig(
        vocab_size=15, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32,
        initializer_range=0.5,
    )).eval()  # fmt: skip
    assert reads_ahead(bert)
    assert not any(reads_ahead(make()) for make in FAMILIES.values())
    assert all(decodes(make()) for make in FAMILIES.values())
