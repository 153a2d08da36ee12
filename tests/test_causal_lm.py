"""Which token comes next: texts without labels are read, asked and scored, and a search goes to a served folder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import tiny_decoder
import torch

import autocompress
from autocompress.cli import app as main
from autocompress.errors import ConfigError
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import TaskSettings
from autocompress.tasks import kinds
from autocompress.tasks.dataset import inputs
from autocompress.tasks.task import Task
from autocompress.tracking import registry
from autocompress.tracking.registry import Card


def settings(**more: object) -> TaskSettings:
    return TaskSettings(kind="causal-lm", **{"data": "none", **more})


def batch_of(*texts: str) -> dict[str, torch.Tensor]:
    rows = [(text,) for text in texts]
    return (
        kinds.of(settings()).examples(tiny_decoder.tokenizer(), rows, [[]] * len(rows), 16).batch([*range(len(rows))])
    )


def test_every_token_is_asked_of_those_before_it() -> None:
    batch = batch_of("tree river stone", "honey lemon")
    assert batch["input_ids"].tolist() == [[3, 4, 5], [13, 14, tiny_decoder.PAD]]
    assert batch["labels"].tolist() == [[4, 5, -100], [14, -100, -100]]
    kind, logits_BTV = kinds.of(settings()), torch.randn(2, 3, 15, generator=torch.Generator().manual_seed(0))
    probability = logits_BTV.softmax(-1)
    asked = [[probability[0, 0, 4], probability[0, 1, 5]], [probability[1, 0, 14]]]
    losses = [sum(-math.log(p) for p in row) for row in asked]
    assert kind.loss(logits_BTV, batch).tolist() == pytest.approx([losses[0] / 2, losses[1]], rel=1e-5)
    answers = kind.answers(logits_BTV.numpy(), batch)
    assert [row[0] for row in answers] == pytest.approx(losses, rel=1e-5)
    assert [row[2] for row in answers] == [2, 1]
    json.dumps(answers)


def test_the_likelihood_is_one_over_the_perplexity() -> None:
    answers = [[math.log(2) + math.log(8), 1, 2], [math.log(4), 0, 1]]  # probabilities of 1/2, 1/8 and 1/4
    likelihood, accuracy = (kinds.of(settings(metric=metric)) for metric in ("likelihood", "accuracy"))
    perplexity = math.exp((math.log(2) + math.log(8) + math.log(4)) / 3)
    assert likelihood.score(answers, [[], []]) == pytest.approx(1 / perplexity)
    assert accuracy.score(answers, [[], []]) == pytest.approx(1 / 3)
    assert likelihood.one_answer(answers, [[], []]) == pytest.approx(0)  # both rows have a mean of 1/4
    assert accuracy.one_answer(answers, [[], []]) == pytest.approx(1 / 3)
    assert likelihood.of_sums(np.zeros((3, 2))).tolist() == [0, 0, 0]


def test_guessing_knows_how_often_a_token_occurs() -> None:
    kind = kinds.of(settings())
    examples = kind.examples(tiny_decoder.tokenizer(), [("tree tree tree river",)], [[]], 16)
    guess = 2 / 3 * math.log(2 / 4) + 1 / 3 * math.log(1 / 4)  # of tree, tree, river
    for loss, told in (
        (-guess + 0.01, f"and {math.exp(guess):.4f} with every token as likely as"),
        (-guess - 0.01, ""),
    ):
        found = kind.fault_on([[3 * loss, 0, 3]], [[]], examples)
        assert told in found
        assert bool(found) == bool(told)
    assert kind.guessing(examples) == pytest.approx(math.log(5)), "ids up to 4"


def test_distillation_is_over_the_tokens_that_are_asked() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 15, generator=generator)
    p, q = (teacher / 2).softmax(-1), (student / 2).softmax(-1)
    kl = (p * (p / q).log()).sum(-1)
    found = kinds.of(settings()).distil(student, teacher, batch_of("tree river stone", "honey lemon"), 2.0)
    assert found.tolist() == pytest.approx([kl[0, :2].mean().item(), kl[1, 0].item()], rel=1e-4)


def test_texts_without_labels_are_cut_into_splits(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(json.dumps([{"text": text} for text in tiny_decoder.texts(50, 0)]))
    task = Task.load(settings(data={"train": "texts.json"}), tiny_decoder.tokenizer(), 0, tmp_path)
    assert [len(split.texts) for split in (task.texts.train, task.texts.validation, task.texts.test)] == [41, 4, 5]
    assert task.labels == ()
    assert task.notes[-1] == "There are texts without labels: train 41, validation 4, test 5."
    assert task.train.labels is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["tree river", ""], "task.text: every row must have a text that is not empty. Got '' in row 2"),
        (["tree river", "tree"], "task.text: every text must have two tokens or more"),
        ([], "task.data: there must be training texts. Got none in"),
        (["tree river"] * 2, "has too few rows to cut validation and test splits from: 2."),
    ],
)
def test_texts_that_cannot_be_used_are_named(tmp_path: Path, rows: list[str], said: str) -> None:
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in rows))
    files = {"train": "texts.csv"} | ({"validation": "texts.csv", "test": "texts.csv"} if "tree" in rows else {})
    with pytest.raises(ConfigError) as error:
        assert Task.load(settings(data=files), tiny_decoder.tokenizer(), 0, tmp_path).train
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "kind: causal-lm", "kind: causal-lm\n  label: label",
            "task.label should be left out, for causal-lm has no labels: a text's own tokens are what is asked. "
            "Got 'label'.",
        ),
        (
            "kind: causal-lm", "kind: text-classification",
            "token_latency_ms is for kinds of tasks that continue texts. Got task.kind 'text-classification'. "
            "Write latency_ms.",
        ),
    ],
)  # fmt: skip
def test_what_the_kind_does_not_have_is_refused_when_it_is_read(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "space.yaml").write_text(tiny_decoder.SPACE.replace(old, new))
    with pytest.raises(ConfigError) as error:
        SearchSpace.load(tmp_path / "space.yaml")
    assert said in str(error.value)
    (tmp_path / "space.yaml").write_text(tiny_decoder.SPACE)
    space = SearchSpace.load(tmp_path / "space.yaml")
    assert SearchSpace.parse(space.dump()).fingerprint == space.fingerprint


def test_a_search_from_texts_to_a_served_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_decoder.make_project(project.parent)
    study = autocompress.search(project, trials=2)
    assert study.baseline
    baseline = study.baseline.measurement
    assert 0.5 < baseline["score"] <= 1, "the first two words tell the others"
    assert baseline["token_latency_ms"] == 3.0
    done = {trial.recipe.title: trial for trial in study.trials if trial.state == "complete"}
    assert any("layers" in title and "soft_labels" in title and "int8_dynamic" in title for title in done)
    assert any("low_rank" in title and "hidden_states" in title for title in done)
    best = next(trial for title, trial in done.items() if "int8_dynamic" in title)
    assert best.measurement["token_latency_ms"] == pytest.approx(2.0)
    assert best.measurement["score_low"] <= best.measurement["score"] <= best.measurement["score_high"]
    out = study.export("out", best.number)
    ask = autocompress.pipeline(out)
    prompts = ["tree river stone", "honey tree", "cloud light small sings lemon river"]
    found = ask(prompts, max_new_tokens=3)
    assert found == [answer for prompt in prompts for answer in ask(prompt, max_new_tokens=3)]
    model = autocompress.load(out)
    batch = batch_of(*prompts)
    ran = ask.session.run(batch)
    with torch.no_grad():
        plain = model(**inputs(batch)).logits.numpy()
    assert ran.shape == plain.shape
    read_BT = batch["attention_mask"].bool().numpy()
    assert np.abs(ran - plain)[read_BT].max() < 0.1 * np.abs(plain).max()
    for command in (["verify", "out"], ["predict", "out", "tree river stone", "--max-new-tokens", "2"]):
        assert main(command, standalone_mode=False) in (0, None)
    said = capsys.readouterr().out
    assert "token_latency_ms" in said
    assert "continuation" in said
    card = (out / "README.md").read_text()
    assert "a model that continues texts, made by" in card
    assert 'ask("a text", max_new_tokens=32)' in card
    assert "latency of each further token, ms" in card
    for wrong in (0, "2", True):
        with pytest.raises(ConfigError, match="max_new_tokens should be a whole number from 1 to 4096"):
            ask("tree", max_new_tokens=wrong)
    with pytest.raises(ConfigError, match="none may be empty"):
        ask(["tree", " "])
    check_that_it_is_served(out, ask)


def check_that_it_is_served(out: Path, ask: autocompress.Pipeline) -> None:
    """By MLflow, with how many tokens to write as a parameter; and by a process without torch."""
    served = out.parent / "served"
    card = Card("", {}, ask.serving.columns, ask.kind.columns_of_answers, ("numpy",), {"max_new_tokens": 32})
    registry._save(served, out, SimpleNamespace(artifact_location="a", source_run_id="b", model_id="c"), card)  # type: ignore[arg-type]
    model, rows = mlflow.pyfunc.load_model(str(served)), pd.DataFrame({"text": ["tree river stone", "honey tree"]})
    for count, params in ((2, {"max_new_tokens": 2}), (32, None)):
        expected = [answer["continuation"] for answer in ask(rows["text"].tolist(), max_new_tokens=count)]
        assert model.predict(rows, params=params)["continuation"].tolist() == expected
    script = f"import sys, autocompress; print(autocompress.pipeline({str(out)!r})('tree river')); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith("[{'continuation': ")
    assert not {"torch", "transformers", "onnx"} & set(said.split())
