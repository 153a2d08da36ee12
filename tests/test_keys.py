"""What a cache key must follow, and what it must not."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import context, tiny

from autocompress.machine import cache, fingerprint, gpu
from autocompress.methods import importance
from autocompress.methods.training.finetune import Finetune
from autocompress.space import keys
from autocompress.space.method import find
from autocompress.space.recipe import Recipe

RECIPE = Recipe.load([{"layers": {"keep": 0.5}}, {"finetune": {}}, {"int8_dynamic": {}}])


def every_key() -> dict[str, str]:
    return {
        "teacher": keys.teacher("c", "t", Finetune(), 0, new_head=False),
        "prefix": keys.prefix("o", RECIPE, 0, 0, {}),
        "importance": keys.importance("p", [("a", 8)], [1]),
        "rehearsal": keys.rehearsal(RECIPE, "s"),
        "surroundings": keys.surroundings(["x"], {}, {}, {}, []),
    }


def changed(before: dict[str, str]) -> set[str]:
    return {name for name, key in every_key().items() if key != before[name]}


def test_a_revision_changes_the_keys_of_what_its_code_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = every_key()
    monkeypatch.setattr(find("layers"), "revision", 2)
    assert changed(before) == {"prefix", "rehearsal"}
    monkeypatch.undo()
    monkeypatch.setattr(Finetune, "revision", 2)
    assert changed(before) == {"teacher", "prefix", "rehearsal"}
    monkeypatch.undo()
    for name, affected in {
        "TRAINER": {"teacher", "prefix"}, "IMPORTANCE": {"importance"}, "MEASURING": {"surroundings"},
    }.items():  # fmt: skip
        monkeypatch.setattr(keys, name, 9)
        assert changed(before) == affected, name
        monkeypatch.undo()


def test_versions_of_libraries_are_in_the_keys_of_what_their_code_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = every_key()
    monkeypatch.setattr(keys, "version", lambda package: "9.9")
    assert changed(before) == {"teacher", "surroundings"}, "a prefix has its teacher's"


def test_the_target_is_in_the_key_only_of_what_is_trained_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def each() -> set[str]:
        return {keys.prefix("o", RECIPE, 0, 0, {"runtime": runtime}) for runtime in ("onnxruntime", "torch")}

    assert len(before := each()) == 1
    monkeypatch.setattr(Finetune, "uses_target", True)
    assert len(each() | before) == 3


def test_the_kind_of_device_is_in_the_key_unless_it_is_a_cpu() -> None:
    on = {device: keys.prefix("o", RECIPE, 0, 0, {}, device) for device in ("cpu", "cuda")}
    teachers = {device: keys.teacher("c", "t", Finetune(), 0, new_head=False, device=device) for device in on}
    assert on["cpu"] == keys.digest(
        ["o", 0, 0, RECIPE.dump(), [keys.revision(type(method)) for method in RECIPE], keys.TRAINER]
    )
    assert len({*on.values()}) == len({*teachers.values()}) == 2
    assert teachers["cpu"] == every_key()["teacher"]


def test_a_seed_does_not_follow_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys.seed(0, RECIPE, 0)
    monkeypatch.setattr(find("layers"), "revision", 2)
    assert keys.seed(0, RECIPE, 0) == before


def test_rungs_belong_to_a_recipe_and_a_metric() -> None:
    assert len({keys.rungs(r, m) for r in (RECIPE, RECIPE.trained) for m in ("accuracy", "mcc")}) == 4


def test_importance_scores_are_those_of_their_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    model = tiny()
    attention = model.bert.encoder.layer[0].attention
    ctx = context(model, prefix="p")
    sites = [attention.self.query, attention.output.dense]  # as many inputs each
    with cache.lease():
        query, out = (importance.score("taylor", model, [site], ctx)[0] for site in sites)
    assert query.tolist() != out.tolist()


METHOD = """\
import json
from typing import ClassVar
from helping.parts import half
from autocompress.space.method import Method, Stage

class Sparser(Method):
    stage: ClassVar[Stage] = "structure"

    def apply(self, model, ctx):
        return half(model)
"""


def revision_of(folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, parts: str) -> int | str:
    """Of a method of a user's own, in a process of its own: a module is read once in each."""
    for name, text in {"helping/__init__.py": "", "helping/sparser.py": method, "helping/parts.py": parts}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    code = "from helping.sparser import Sparser; from autocompress.space import keys; print(keys.revision(Sparser))"
    path = f"{Path(importlib.import_module('autocompress').__file__).parent.parent}:{folder}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_method_of_ones_own_has_its_code_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = "def half(model):\n    return model[:2]\n"
    first = revision_of(tmp_path, monkeypatch, METHOD, parts)
    assert len(str(first)) == 16
    commented = METHOD.replace('"structure"', '"structure"  # what it is')
    assert revision_of(tmp_path, monkeypatch, commented, '"""Parts."""\n' + parts) == first
    assert revision_of(tmp_path, monkeypatch, METHOD, parts.replace("2", "3")) != first, "a helper's code counts"


def test_figures_of_a_gpu_name_it_and_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "nvidia-smi"
    asked.write_text('#!/bin/sh\nfor last; do :; done\necho "NVIDIA H200, on $last, 580.1"\n')
    asked.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    gpu._asked.cache_clear()
    found = fingerprint.machine("cuda")
    assert (found["gpu"], found["driver"]) == ("NVIDIA H200, on 3", "580.1")
    assert "gpu" not in fingerprint.machine("cpu")
    asked.unlink()
    gpu._asked.cache_clear()
    assert fingerprint.machine("cuda")["gpu"] == "unknown"
    gpu._asked.cache_clear()
