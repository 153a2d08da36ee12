"""Recipes of several families together, searched, exported, loaded and verified."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from tiny_project import SPACE, make_project
from transformers import AutoTokenizer

import autocompress
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.artefacts import trial_key
from autocompress.trials.stages import open_model

pytestmark = pytest.mark.slow

CUT = {"vocabulary": {"min_count": 60}}  # the words of the tiny project that say the label
TRAIN = {"finetune": {"epochs": 2, "lr": 1e-2, "freeze_embeddings": False}}
RECIPES = {
    "movement, qat and soft labels in one training": [{"movement": {"sparsity": 0.5}}, "qat", "soft_labels", TRAIN],
    "cut, trained, factored, trained": [
        {"layers": {"keep": 0.5}}, {"neurons": {"keep": 0.5, "multiple": 8}}, {"heads": {"keep": 0.5}}, TRAIN,
        {"low_rank": {"keep": 0.5, "scope": "ffn"}}, TRAIN, "int8_dynamic",
    ],
    "gates and relations": [{"l0_gates": {"keep": 0.6}}, "relations", TRAIN, "int8_static"],
    "an LSTM": [
        {"student": {"model": "bilstm", "width": 16}}, "soft_labels", "transfer_set",
        {"finetune": {"epochs": 4, "lr": 1e-2, "freeze_embeddings": False}}, "int8_dynamic",
    ],
    "tables and layers shared": [
        CUT, {"factorized_embedding": {"width": 4}}, {"cross_layer": {"groups": 1}}, TRAIN,
    ],
    "a rounded table and shared layers": [CUT, {"cross_layer": {"groups": 1}}, TRAIN, "embedding"],
    "ternary, learnt from the teacher": ["ternary", "soft_labels", "hidden_states", TRAIN],
    "cut, trained, and numbers shared": [
        {"neurons": {"keep": 0.5, "multiple": 8}}, TRAIN, {"codebook": {"bits": 4, "method": "product", "width": 4}},
    ],
    "cut twice": [
        {"neurons": {"keep": 0.7, "multiple": 8}}, TRAIN, {"neurons": {"keep": 0.5, "multiple": 8}}, TRAIN,
        {"weight_only": {"bits": 8}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("joint")
    each = list(RECIPES.values())
    space = yaml.safe_load(SPACE) | {"constraints": [], "anchors": each, "steps": [{"one_of": each}]}
    space["search"] = {"trials": len(RECIPES), "variants": 0, "rungs": "none", "confirm": {"top": 0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        yield autocompress.search(make_project(folder, yaml.safe_dump(space, sort_keys=False)))
    work.loaded.cache_clear()


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_trained_exported_loaded_and_served(study: Study, name: str, tmp_path: Path) -> None:
    wanted = [next(iter(step)) if isinstance(step, dict) else step for step in RECIPES[name]]
    trial = next(trial for trial in study.trials if [method.name for method in trial.recipe] == wanted)
    assert trial.state == "complete", trial.reason
    folder = study.export(tmp_path / "out", trial=trial.number)
    with Path("test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    place = study.artefacts.get(f"{trial_key(trial.number)}/model")
    assert place
    loaded, kept = autocompress.load(folder), open_model(place).module
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for row in rows[:6]:
            fields = tokenizer(row["text"], return_tensors="pt")
            assert torch.equal(loaded(**fields).logits, kept(**fields).logits)
    answers = autocompress.pipeline(folder)([row["text"] for row in rows])
    right = sum(answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) == study.judged(trial)["test_score"]
