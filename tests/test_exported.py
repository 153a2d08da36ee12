"""Exported folders: a stored one of format 1, and one of a float32 trial made here by a whole search."""

from __future__ import annotations

import json
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from conftest import exact_int8, tiny, toy
from tiny_project import SPACE, make_project
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import autocompress
from autocompress.errors import ConfigError
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.settings import Target
from autocompress.trials import work

STORED = Path(__file__).parent / "stored"
EXPECTED = json.loads((STORED / "expected.json").read_text())
ONE_RECIPE = """\
steps:
  - layers: {keep: 0.5, strategy: top}
  - neurons: {keep: 0.5, multiple: 8, importance: l2, rounds: 1}
  - finetune: {epochs: 2, lr: 1e-2, batch_size: 32, freeze_embeddings: false}
"""
TEXTS = ["honey tree river", "vinegar", "sugar light green walks sings small stone cloud", "lemon tree", "honey stone"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    """A float32 model with fewer layers and narrower feed-forwards, whose target has batches of two."""
    folder = tmp_path_factory.mktemp("plain")
    space = SPACE.split("anchors:")[0].replace("threads: 1,", "threads: 1, batch_size: 2,") + ONE_RECIPE
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        study = autocompress.search(make_project(folder, space), trials=1)
        yield study.export(folder / "out")
    work.loaded.cache_clear()


@exact_int8
def test_a_stored_folder_of_format_1_gives_what_it_gave() -> None:
    """int8 kernels round a little differently from one processor to another."""
    folder, texts = STORED / "format-1", EXPECTED["texts"]
    classify, module = autocompress.pipeline(folder), autocompress.load(folder)
    assert [answer["label"] for answer in classify(texts)] == EXPECTED["labels"]
    assert classify.logits(texts) == pytest.approx(np.array(EXPECTED["artefact_logits"]), abs=0.05)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [module(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts]
    assert np.array(rows) == pytest.approx(np.array(EXPECTED["module_logits"]), abs=1e-4)


@pytest.mark.parametrize("found", [2, None, "1"])
def test_a_later_format_is_refused(tmp_path: Path, found: object) -> None:
    folder = shutil.copytree(STORED / "format-1", tmp_path / "later")
    serving = json.loads((folder / "serving.json").read_text())
    (folder / "serving.json").write_text(json.dumps(serving | {"format": found}))
    with pytest.raises(ConfigError) as caught:
        autocompress.load(folder)
    assert str(caught.value) == (
        f"{folder}/serving.json: this version reads format 1. Got {found!r}. Install a newer autocompress."
    )


def test_a_serving_file_that_makes_no_sense_is_one_sentence(tmp_path: Path) -> None:
    folder = shutil.copytree(STORED / "format-1", tmp_path / "odd")
    serving = json.loads((folder / "serving.json").read_text())
    (folder / "serving.json").write_text(json.dumps(serving | {"labels": 5}))
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(folder)
    assert str(caught.value) == (
        f"{folder}/serving.json: labels: should be a valid tuple. Got 5. Export the model again."
    )


def test_a_serving_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    folder = shutil.copytree(STORED / "format-1", tmp_path / "large")
    with (folder / "serving.json").open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(folder)
    assert str(caught.value) == (
        f"{folder}/serving.json: it should hold a JSON object. Got something else. Export the model again."
    )


def test_the_torch_runtime_runs_the_module(tmp_path: Path) -> None:
    folder = shutil.copytree(STORED / "format-1", tmp_path / "torch")
    serving = json.loads((folder / "serving.json").read_text())
    serving["target"]["runtime"] = "torch"
    (folder / "serving.json").write_text(json.dumps(serving))
    logits_NC = autocompress.pipeline(folder).logits(EXPECTED["texts"])
    assert logits_NC == pytest.approx(np.array(EXPECTED["module_logits"]), abs=1e-4)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 2**17}))
    with pytest.raises(ConfigError, match=r"model\.safetensors should fit config\.json and structure\.json"):
        autocompress.pipeline(folder)


def test_answers_come_in_the_order_of_the_texts(plain: Path) -> None:
    classify = autocompress.pipeline(plain)
    alone = [classify(text)[0] for text in TEXTS]
    assert [answer["label"] for answer in alone] == ["sweet", "sour", "sweet", "sour", "sweet"]
    together = classify(TEXTS)
    assert [answer["label"] for answer in together] == [answer["label"] for answer in alone]
    assert [a["score"] for a in together] == pytest.approx([a["score"] for a in alone], abs=1e-5)
    assert classify.logits(TEXTS[::-1])[::-1] == pytest.approx(classify.logits(TEXTS), abs=1e-5)


LIGHT = """
import sys, autocompress
print(autocompress.pipeline(sys.argv[1])("honey tree")[0]["label"])
print(sorted({"datasets", "mlflow", "onnx", "optuna", "torch", "transformers"} & set(sys.modules)))
"""


def test_a_pipeline_needs_neither_torch_nor_transformers(plain: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, plain], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["sweet", "[]"], done.stderr


def test_texts_of_like_length_run_together(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classify = autocompress.pipeline(plain)
    run, shapes = classify.session.run, []
    monkeypatch.setattr(classify.session, "run", lambda batch: shapes.append(batch["input_ids"].shape) or run(batch))
    classify(TEXTS)
    assert shapes == [(2, 4), (2, 5), (1, 10)]


def test_scores_are_the_softmax_of_the_logits_and_no_texts_have_no_answers(plain: Path) -> None:
    classify = autocompress.pipeline(plain)
    expected_NC = torch.softmax(torch.from_numpy(classify.logits(TEXTS)), 1)
    assert [answer["score"] for answer in classify(TEXTS)] == pytest.approx(expected_NC.max(1).values.tolist())
    assert classify([]) == []


@pytest.mark.parametrize(
    ("columns", "texts"),
    [(["text"], ["", "honey " * 40]), (["a", "b"], [("honey tree", "stone river"), ("tree " * 20, "lemon " * 20)])],
)
def test_texts_are_cut_and_paired_as_the_tokenizer_does_it(
    plain: Path, tmp_path: Path, columns: list[str], texts: list[Any]
) -> None:
    folder = shutil.copytree(plain, tmp_path / "copy")
    serving = json.loads((folder / "serving.json").read_text())
    serving["task"]["text"] = columns
    (folder / "serving.json").write_text(json.dumps(serving))
    classify, tokenizer = autocompress.pipeline(folder), AutoTokenizer.from_pretrained(plain)
    module = autocompress.load(plain)
    for text in texts:
        pair = (text,) if isinstance(text, str) else text
        encoded = tokenizer(*pair, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            assert classify.logits([text])[0] == pytest.approx(module(**encoded).logits[0].numpy(), abs=1e-4)


def test_texts_are_cut_at_the_side_that_the_tokenizer_says(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "left")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"truncation_side": "left"}))
    text = "honey " + "tree " * 20 + "lemon"
    assert [autocompress.pipeline(place)(text)[0]["label"] for place in (plain, folder)] == ["sweet", "sour"]


def test_a_stock_shape_loads_with_plain_transformers(plain: Path) -> None:
    config = json.loads((plain / "config.json").read_text())
    assert (config["num_hidden_layers"], config["intermediate_size"]) == (1, 32)
    stock, tokenizer = AutoModelForSequenceClassification.from_pretrained(plain), AutoTokenizer.from_pretrained(plain)
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits_NC = stock.eval()(**encoded).logits
        assert torch.equal(logits_NC, autocompress.load(plain)(**encoded).logits)
    assert autocompress.pipeline(plain).logits(TEXTS) == pytest.approx(logits_NC.numpy(), abs=1e-4)


def test_the_folder_holds_what_the_design_says_and_no_path_of_this_machine(plain: Path) -> None:
    assert sorted(file.name for file in plain.iterdir()) == [
        "README.md", "config.json", "files.json", "measurement.json", "model.onnx", "model.safetensors",
        "precision.json", "recipe.yaml", "serving.json", "structure.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    recipe = yaml.safe_load((plain / "recipe.yaml").read_text())
    assert [next(iter(step)) for step in recipe["steps"]] == ["layers", "neurons", "finetune"]
    assert recipe["steps"][1]["neurons"] == {"keep": 0.5, "importance": "l2", "rounds": 1, "multiple": 8}
    texts = [file.read_text() for file in plain.iterdir() if file.suffix in (".json", ".yaml", ".md")]
    assert not any(str(plain.parent) in text for text in texts)


def test_the_model_card_says_everything(plain: Path) -> None:
    card, measured = (plain / "README.md").read_text(), json.loads((plain / "measurement.json").read_text())
    trial, baseline = measured["trial"], measured["baseline"]
    interval = f"{trial['speedup_low']:.2f} to {trial['speedup_high']:.2f}"
    for said in (
        "# ./model, compressed: layers+neurons+finetune",
        "a classifier of texts (sour, sweet)",
        f"| accuracy, validation | {trial['score']:.3f} | {trial['score_low']:.3f} to {trial['score_high']:.3f} | "
        f"{baseline['score']:.3f} |",
        f"| accuracy, test | {trial['test_score']:.3f} |  | {baseline['test_score']:.3f} |",
        f"| speedup | {trial['speedup']:.2f} | {interval} | 1.00 |",
        f"| parameters | {trial['parameters']:,.0f} |  | {baseline['parameters']:,.0f} |",
        '"validation": "validation.csv"',
        "2 x 16 tokens on onnxruntime, cpu, 1 thread(s)",
        f"Machine: {measured['machine']['cpu']}",
        f"torch {torch.__version__}",
        "number 1 of 1 by score",
        'autocompress.pipeline("this-folder")',
        "autocompress verify this-folder",
        '"strategy": "top"',
    ):
        assert said in card


def test_no_module_hides_a_function_of_the_package() -> None:
    """Importing a submodule sets it as an attribute: `autocompress.pipeline` worked once and then was a module."""
    assert not {module.name for module in pkgutil.iter_modules(autocompress.__path__)} & set(autocompress.__all__)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_what_a_runtime_opens_says_what_its_answers_are_called(runtime: str, tmp_path: Path) -> None:
    model, names = tiny(), ("so so", 'a "good" <one>', "schön")
    model.config.id2label = dict(enumerate(names))
    found = find_runtime(runtime)
    found.lower(model, PrecisionPlan(), toy().batch([0]), tmp_path)
    assert found.open(tmp_path, Target(runtime=runtime)).labels == names


def test_an_artefact_of_other_labels_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(STORED / "format-1", tmp_path / "other")
    assert autocompress.pipeline(folder).session.labels == (), "the first folders do not say it"
    model = onnx.load(folder / "model.onnx")
    onnx.helper.set_model_props(model, {"id2label": json.dumps({"0": "spam", "1": "ham"})})
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ConfigError) as e:
        autocompress.pipeline(folder)
    assert str(e.value) == (
        f"{folder}: model.onnx should give the labels 'sour, sweet', as serving.json does. "
        "Got 'spam, ham'. Export the model again."
    )
    onnx.helper.set_model_props(model, {"id2label": '["spam"]'})
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ConfigError, match="id2label should be names by number"):
        autocompress.pipeline(folder)
