"""What trainings compute in: decided by timing, written down, a part of the keys, off by one setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import context, fresh, tiny, toy
from tiny_project import SPACE
from torch import nn

from autocompress.machine import instructions
from autocompress.methods.training.finetune import Finetune
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.tasks import kinds
from autocompress.trials import arithmetic, work

RECIPE = Recipe.load([{"soft_labels": {}}, {"finetune": {"epochs": 1}}])


@pytest.mark.parametrize(("bfloat16", "name"), [(0.5, "bfloat16"), (0.95, "float32"), (2.0, "float32")])
def test_fewer_bits_must_pay(bfloat16: float, name: str) -> None:
    assert arithmetic.faster({"float32": 1.0, "bfloat16": bfloat16}) == name


def test_a_step_is_timed_in_both() -> None:
    model = fresh(tiny())
    seconds = arithmetic.timed(model, toy().batch(list(range(16))), kinds.usual(), torch.device("cpu"))
    assert seconds.keys() == {"float32", "bfloat16"}
    assert all(0 < each < 60 for each in seconds.values())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("bfloat16", "rounds"), [(0.5, 3), (0.88, 6), (0.92, 6), (1.5, 3)])
def test_what_is_clear_is_not_timed_again(bfloat16: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of long texts takes many seconds: some rows do, and one round more than the first that warms up."""
    rows = list[int]()

    def step(_model: nn.Module, batch: Any, _kind: object, _device: object, name: str) -> float:
        rows.append(len(batch["input_ids"]))
        return 1.0 if name == "float32" else bfloat16

    monkeypatch.setattr(arithmetic, "_step", step)
    monkeypatch.setattr(arithmetic, "_TOKENS", 40)
    batch = {"input_ids": torch.ones(16, 10, dtype=torch.long), "labels": torch.zeros(16, dtype=torch.long)}
    found = arithmetic.timed(fresh(tiny()), batch, kinds.usual(), torch.device("cpu"))
    assert found == {"float32": 1.0, "bfloat16": bfloat16}
    assert rows == [4] * 2 * rounds


@pytest.mark.parametrize("before", [[], ["hidden_states"], ["attention_maps"], ["qat"], ["movement"], ["l0_gates"]])
def test_products_are_of_fewer_bits_and_weights_are_not(before: list[str]) -> None:
    ctx = context(tiny(), dtype=torch.bfloat16)
    model, seen = fresh(tiny()), set[torch.dtype]()
    for name in ("soft_labels", *before):
        model = find(name)().apply(model, ctx)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _module, _given, out: seen.add(out.dtype))
    start = [p.detach().clone() for p in model.parameters()]
    trained = Finetune(epochs=2, lr=3e-3).apply(model, ctx)
    assert torch.bfloat16 in seen
    assert {p.dtype for p in trained.parameters()} == {torch.float32}
    assert any(not torch.equal(a, b) for a, b in zip(start, trained.parameters(), strict=False))


@pytest.mark.skipif(not instructions.has_bfloat16(), reason="needs a CPU that multiplies bfloat16")
def test_a_process_remembers_few_products() -> None:
    """Of hundreds of shapes, as texts of all lengths and models of all widths have them."""
    code = """
import psutil, torch
from autocompress.trials.arithmetic import keep_few_products
keep_few_products()
def multiply(first, last):
    for rows in range(first, last):
        layer = torch.nn.Linear(128, 64 + rows % 7, dtype=torch.bfloat16)
        layer(torch.ones(rows, 128, dtype=torch.bfloat16)).sum().backward()
    return psutil.Process().memory_info().rss
before = multiply(100, 300)
print(multiply(300, 700) - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert grown < 10e6


def test_it_learns_what_float32_does() -> None:
    losses: dict[torch.dtype, list[float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        ctx = context(tiny(), dtype=dtype)
        ctx.course.on_step = lambda _step, _of, loss, dtype=dtype: losses.setdefault(dtype, []).append(loss)
        Finetune(epochs=14, lr=4e-3, batch_size=16).apply(fresh(tiny()), ctx)
    full, fewer = losses.values()
    assert full != fewer
    assert fewer[0] == pytest.approx(full[0], rel=0.02)
    assert sum(fewer[-6:]) / 6 < full[0] / 2


def test_it_is_written_down_and_a_part_of_the_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def studied(name: str, precision: str, seconds: dict[str, float] | None) -> Any:
        """A search of one trial on a machine that has such products, if there are seconds of them."""
        monkeypatch.setattr(instructions, "has_bfloat16", lambda: seconds is not None)
        monkeypatch.setattr(arithmetic, "timed", lambda *_: seconds)
        monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(project.parent / f"cache-{name}"))
        said = f"trials: 1, training_precision: {precision}"
        place = project.with_name(f"{name}.yaml")
        place.write_text(SPACE.replace("trials: 4", said))
        study = Study.create(place)
        study.run(report=False)
        return study

    fast = {"float32": 1.0, "bfloat16": 0.5}
    plain, other, off = studied("plain", "auto", None), studied("fast", "auto", fast), studied("off", "float32", fast)
    assert [s.record["baseline"]["computes_in"] for s in (plain, other, off)] == ["float32", "bfloat16", "float32"]
    assert any("takes 0.50 of its time in float32" in note for note in other.record["baseline"]["notes"])
    assert all("bfloat16" not in note for s in (plain, off) for note in s.record["baseline"]["notes"])
    found = {}
    for study in (plain, other, off):
        monkeypatch.setattr(instructions, "has_bfloat16", lambda: False)  # what is written down holds
        bench = work.bench_of(study.data)
        found[study.name] = (bench.teacher_key, bench.prefix_key(RECIPE))
    assert found["plain"] == found["off"]
    assert not set(found["plain"]) & set(found["fast"])
    assert other.trials[0].state == "complete"
