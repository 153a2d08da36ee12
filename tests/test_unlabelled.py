"""Texts without labels: read as the others are, never judged on, and learnt from by what the teacher says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from conftest import context, tiny, toy
from tiny_project import SPACE
from tiny_tables import TABLE, load, message, tokenizer, write

import autocompress
from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.distillation.transfer_set import TransferSet
from autocompress.serving.verify import verify
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import TaskSettings
from autocompress.tasks.task import Task
from autocompress.trials.fingerprints import reads_unlabelled

MORE = "text\nriver honey\ntree lemon\nstone sugar\ncloud vinegar\n"
UNREAD = "No recipe reads the texts without labels: transfer_set does, with augmentation: unlabelled."


def test_what_is_judged_on_is_left_out_and_an_order_is_drawn(tmp_path: Path) -> None:
    data = write(tmp_path, train=TABLE, validation={"text": ["good a", "bad b"], "label": [1, 0]}, test=TABLE)
    rows = [f"book {number}" for number in range(20)]
    (tmp_path / "more.csv").write_text("text\n" + "\n".join(["good a", TABLE["text"][0], *rows]) + "\n")
    texts = load(tmp_path, data, unlabelled="more.csv")

    assert sorted(texts.unlabelled) == sorted((row,) for row in rows)
    assert list(texts.unlabelled) != [(row,) for row in rows]
    assert texts.unlabelled == load(tmp_path, data, unlabelled="more.csv").unlabelled
    assert "There are 22 texts without labels, 2 of which are judged on and left out." in texts.notes


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text\ngood film 1\n", "task.unlabelled: must have texts that are not judged on. Got none in {file}."),
        ("words\nx\n", "task.text: must be a column of {file}. Got 'text'. Its columns: words."),
        (None, "task.unlabelled: must be a file that exists. Got '{file}'."),
    ],
)
def test_what_cannot_be_read_is_one_sentence(content: str | None, sentence: str, tmp_path: Path) -> None:
    data, file = write(tmp_path, train=TABLE, validation=TABLE, test=TABLE), tmp_path / "more.csv"
    if content is not None:
        file.write_text(content)
    assert message(tmp_path, data, unlabelled="more.csv") == sentence.format(file=file)


def test_the_teacher_labels_as_many_as_are_wanted() -> None:
    model, more = tiny(), toy(200)
    ctx = context(model, unlabelled=more.head)
    assert ctx.train
    before = len(ctx.train)
    TransferSet(augmentation="unlabelled", factor=1).apply(tiny(), ctx)

    assert ctx.train.fields["input_ids"][before:] == more.fields["input_ids"][:before]
    with torch.no_grad():
        answers = [int(model(torch.tensor([row])).logits.argmax()) for row in more.fields["input_ids"][:before]]
    assert ctx.train.labels
    assert ctx.train.labels[before:] == answers


def test_without_any_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match=r"wants texts without labels: name a file of them in task\.unlabelled"):
        TransferSet(augmentation="unlabelled").apply(tiny(), context(tiny(), train=False))


def test_only_what_reads_them_depends_on_them(tmp_path: Path) -> None:
    data = write(tmp_path, train=TABLE, validation=TABLE, test=TABLE)
    found = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(f"text\n{name}\n")
        settings = TaskSettings(data=data, unlabelled=f"{name}.csv")
        found.append(Task.load(settings, tokenizer(), 0, tmp_path))
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].unlabelled_fingerprint != found[1].unlabelled_fingerprint
    assert TransferSet(augmentation="unlabelled").uses_unlabelled
    assert not TransferSet().uses_unlabelled


def test_a_search_that_does_not_read_them_says_so(project: Path) -> None:
    (project.parent / "more.csv").write_text(MORE)
    space = SPACE.replace("max_length: 16", "max_length: 16\n  unlabelled: more.csv")
    project.write_text(space.replace("trials: 4", "trials: 1"))
    assert UNREAD in autocompress.search(project).record["baseline"]["notes"]


@pytest.mark.parametrize(("knobs", "read"), [("", False), (": {augmentation: [mask, unlabelled]}", True)])
def test_whether_a_space_reads_them_is_known(knobs: str, read: bool) -> None:
    space = SPACE.split("anchors:")[0] + f"steps:\n  - transfer_set{knobs}\n  - finetune\n"
    assert reads_unlabelled(SearchSpace.parse(yaml.safe_load(space))) == read


def test_a_space_without_any_is_written_as_before() -> None:
    space = SearchSpace.parse(yaml.safe_load(SPACE))
    assert "unlabelled" not in space.dump()["task"]


def test_a_search_learns_from_them_and_is_held_to_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "more.csv").write_text(MORE)
    head = SPACE.split("anchors:")[0].replace("  - size_mb <= 0.95 * baseline\n", "")
    head = head.replace("max_length: 16", "max_length: 16\n  unlabelled: more.csv")
    steps = "steps:\n  - transfer_set: {augmentation: unlabelled, factor: 1}\n  - finetune: {epochs: 1, lr: 1e-3}\n"
    project.write_text(head.replace("trials: 4", "trials: 1") + steps)
    study = autocompress.search(project)

    [trial] = [trial for trial in study.trials if trial.recipe]
    assert isinstance(trial.recipe, Recipe)
    assert "score" in trial.measurement
    assert study.record["inputs"]["texts without labels"].startswith("4 (sha256 ")
    assert UNREAD not in study.record["baseline"]["notes"]

    monkeypatch.chdir(project.parent)
    study.export("exported")
    (project.parent / "more.csv").unlink()
    [score] = [check for check in verify(Path("exported")) if "score" in check.quantity]
    assert score.agrees, "they are not scored: nor are they read"
    (project.parent / "more.csv").write_text(MORE.replace("honey", "lemon"))
    with pytest.raises(ConfigError, match="texts without labels"):
        autocompress.search(project)
