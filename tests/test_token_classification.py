"""A label for every word: rows are read, words find their tokens, and a search goes from data to a served folder."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_project import MARKS, SPACE, WORDS, make_project
from torch.nn import functional as F

import autocompress
from autocompress.cli import app as main
from autocompress.errors import ConfigError
from autocompress.models.loading import load_tokenizer
from autocompress.space.settings import TaskSettings
from autocompress.tasks import kinds
from autocompress.tasks.task import Task

TAGS = {"lemon": "B-SOUR", "vinegar": "B-SOUR", "honey": "B-SWEET", "sugar": "B-SWEET"}
TAGGED = SPACE.replace(
    "task:\n", "task:\n  kind: token-classification\n  text: words\n  label: tags\n"
).replace("epochs: 4", "epochs: 24")  # fmt: skip


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """A mark and the word behind it are one entity."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        words, tags = [], []
        for word in rng.choices([*WORDS, *MARKS["sour"], *MARKS["sweet"]], k=rng.randint(3, 9)):
            inside = bool(tags) and tags[-1].startswith("B-") and word in WORDS
            tags.append(f"I-{tags[-1][2:]}" if inside else TAGS.get(word, "O"))
            words.append(word)
        found.append((" ".join(words), " ".join(tags)))
    return found


def write(folder: Path) -> None:
    for seed, (split, count) in enumerate({"train": 256, "validation": 64, "test": 32}.items()):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("words", "tags"), *rows(count, seed)])


@pytest.fixture
def tagged(project: Path) -> Path:
    make_project(project.parent, TAGGED)
    write(project.parent)
    return project


def settings(**more: object) -> TaskSettings:
    return TaskSettings(kind="token-classification", text="words", label="tags", **{"data": "none", **more})


def test_a_row_may_be_lists_or_text_with_blanks(tmp_path: Path) -> None:
    make_project(tmp_path)
    lists = [{"words": w.split(), "tags": t.split()} for w, t in rows(40, 0)]
    texts = [{"words": w, "tags": t} for w, t in rows(40, 0)]
    found = []
    for name, table in (("lists", lists), ("texts", texts)):
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
        data = settings(data={"train": f"{name}.json"}, max_length=16)
        found.append(Task.load(data, load_tokenizer(str(tmp_path / "model")), 0, tmp_path).texts)
    assert found[0].train == found[1].train
    assert found[0].labels == ("B-SOUR", "B-SWEET", "I-SOUR", "I-SWEET", "O")
    assert "'O' (train" in found[0].summary


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"words": "a b", "tags": "O"}, "every word must have a label. Got 2 words and 1 labels in row 2"),
        ({"words": "", "tags": "O"}, "every row must have words, as a list or with blanks between them"),
        ({"words": ["a", 3], "tags": ["O", "O"]}, r"Got \['a', 3\] in row 2"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, row: dict[str, object], said: str) -> None:
    make_project(tmp_path)
    (tmp_path / "bad.json").write_text(json.dumps([{"words": "a b", "tags": "O B-X"}, row] * 20))
    data, tokenizer = settings(data={"train": "bad.json"}), load_tokenizer(str(tmp_path / "model"))
    with pytest.raises(ConfigError, match=said):
        Task.load(data, tokenizer, 0, tmp_path)


def test_the_first_token_of_a_word_is_asked(tmp_path: Path) -> None:
    make_project(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path / "model"))
    kind = kinds.of(settings(), ("B-X", "O"))
    found = kind.examples(tokenizer, [("tree-house", "river", "stone"), ("tree",)], [[0, 1, 0], [1]], 6)
    assert found.fields["labels"] == [[-100, 0, -100, -100, 1, -100], [-100, 1, -100]], "cut at 6 tokens"
    batch = found.batch([0, 1])
    assert batch["labels"].tolist()[1] == [-100, 1, -100, -100, -100, -100]
    logits_BTC = torch.zeros(2, 6, 2)
    logits_BTC[0, 1, 0] = logits_BTC[0, 4, 1] = logits_BTC[1, 1, 0] = 1.0
    assert kind.answers(logits_BTC.numpy(), batch) == [[0, 1], [0]]
    asked = [(logits_BTC[0, [1, 4]], [0, 1]), (logits_BTC[1, [1]], [1])]
    expected = [F.cross_entropy(logits, torch.tensor(labels)) for logits, labels in asked]
    assert kind.loss(logits_BTC, batch).tolist() == pytest.approx([loss.item() for loss in expected])


def test_scores() -> None:
    names = ("B-X", "I-X", "O")
    labels, answers = [[0, 1, 2], [2, 0], [0]], [[0, 1, 2], [2, 2], []]
    f1 = kinds.of(settings(metric="entity_f1"), names)
    assert f1.statistics(answers, labels).tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert f1.score(answers, labels) == pytest.approx(2 * 1 / (1 + 3))
    assert kinds.of(settings(metric="accuracy"), names).score(answers, labels) == pytest.approx(4 / 6)
    assert f1.one_answer(answers, labels) >= f1.score(answers, labels) - f1.score([[2, 2, 2], [2, 2], []], labels)
    assert f1.fault([[2, 2, 2], [2, 2], [2]], labels).startswith("its entity_f1 is 0.000 on 3 validation texts")
    assert not f1.fault(answers, labels)


def test_distillation_is_over_the_tokens_that_are_read() -> None:
    kind, generator = kinds.of(settings(), ("O", "X")), torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = kind.distil(student, teacher, {"attention_mask": mask}, 2.0)
    p, q = (teacher / 2).softmax(-1), (student / 2).softmax(-1)
    kl = (p * (p / q).log()).sum(-1)
    assert found.tolist() == pytest.approx([kl[0].mean().item(), kl[1, :2].mean().item()], rel=1e-4)


@pytest.mark.slow
def test_a_search_from_data_to_a_served_folder(tagged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = autocompress.search(tagged, trials=3)
    assert study.baseline
    assert study.baseline.measurement["score"] > 0.9
    assert any("soft_labels" in t.recipe.title for t in study.trials if t.charged)
    best = study.best("best_score")
    out = study.export("out", best.number)
    ask = autocompress.pipeline(out)
    [found] = ask("stone honey tree river lemon")
    assert [(one["entity"], one["text"], one["begin"], one["end"]) for one in found] == [
        ("SWEET", "honey tree", 1, 3), ("SOUR", "lemon", 4, 5)
    ]  # fmt: skip
    assert ask([["honey", "tree"], ["river"]])[1] == []
    model, examples = autocompress.load(out), ask.kind.examples(ask.tokenizer, [("honey", "tree")], [[0, 0]], 16)
    batch = examples.batch([0])
    ran = ask.session.run(batch)
    with torch.no_grad():
        plain = model(**{name: t for name, t in batch.items() if name not in ("labels", "index")}).logits.numpy()
    assert ran.shape == plain.shape
    assert np.abs(ran - plain).max() < 0.5 * np.abs(plain).max()
    for command in (["verify", "out"], ["predict", "out", "honey tree"]):
        assert main(command, standalone_mode=False) in (0, None)
    said = capsys.readouterr().out
    assert "agrees" in said
    assert "honey tree (SWEET " in said
    with pytest.raises(
        ConfigError, match=r"^this model reads words: a text, or a list of words\. Got \('honey', 'tree'\)"
    ):
        main(["predict", "out", "--pair", "honey", "tree"], standalone_mode=False)
    assert "tagger of words in texts" in (out / "README.md").read_text()
