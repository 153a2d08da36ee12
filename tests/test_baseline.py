"""A baseline that is one: what would make a nonsense of it is mended and said, or refused in one sentence."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_project import SPACE, train_checkpoint

from autocompress.errors import ConfigError
from autocompress.machine import cache
from autocompress.serving import pipeline
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.space.settings import TaskSettings
from autocompress.study import Study
from autocompress.tasks import kinds
from autocompress.trials import work
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job, Result
from autocompress.trials.stages import Ascent

TAUGHT = "teacher: {finetune: {epochs: 4, lr: 1e-2, freeze_embeddings: false}}"


def spaced(project: Path, teacher: str, space: str = SPACE) -> Path:
    project.write_text(space.replace(TAUGHT, teacher))
    return project


def measured(project: Path) -> Result:
    """What the baseline's job says of this space."""
    study = Study.create(project)
    return InlineExecutor(lambda *_: None).submit(Job("baseline", study.data)).result()


def refused(project: Path) -> str:
    with pytest.raises(ConfigError) as error:
        measured(project)
    return str(error.value)


def change(file: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(file)
    edit(weights)
    save_file(weights, file, metadata={"format": "pt"})


def spoil(weights: dict[str, torch.Tensor]) -> None:
    weights["bert.encoder.layer.0.attention.self.query.weight"][0, 0] = math.nan


def test_a_head_whose_names_agree_is_taken_as_given_in_whatever_order(project: Path) -> None:
    train_checkpoint(project, ("Sweet", "Sour"), (1, 0))
    result = measured(spaced(project, ""))
    assert result.measurement["score"] > 0.9
    assert result.notes[-1].endswith("as given: it is fine-tuned already.")


def test_a_head_for_other_names_is_fine_tuned_and_this_is_said(project: Path) -> None:
    train_checkpoint(project, ("spam", "ham"), (1, 0))
    bench = work.bench_of(Study.create(spaced(project, "")).data)
    assert bench.teacher_plan.training
    assert bench.notes[-1].endswith(
        ", since its head is for other labels (spam, ham) than the data's (sour, sweet)."
    )  # fmt: skip


def test_a_head_without_names_whose_rows_are_in_another_order_is_fine_tuned(project: Path) -> None:
    train_checkpoint(project, ("LABEL_0", "LABEL_1"), (1, 0))
    bench = work.bench_of(Study.create(spaced(project, "")).data)
    assert bench.notes[-1].endswith(
        ", since its head is no better than guessing: its accuracy is 0.047 on 64 validation texts, "
        "and 0.500 with the answer 'sour' to each."
    )


def test_a_head_without_names_that_knows_the_task_is_taken_as_given(project: Path) -> None:
    train_checkpoint(project, ("LABEL_0", "LABEL_1"))
    assert work.bench_of(Study.create(spaced(project, "")).data).teacher_training is None


def test_a_named_teacher_for_other_labels_is_refused(project: Path) -> None:
    train_checkpoint(project, ("spam", "ham"))
    assert refused(spaced(project, "teacher: as_given")) == (
        "teacher: as_given should be fine-tuned for the labels of this task (sour, sweet). Got a checkpoint that is "
        "not: its head is for other labels (spam, ham) than the data's (sour, sweet). Leave `teacher` out, or write "
        "`teacher: finetune`, to have one fine-tuned first; if only the names differ, correct id2label in its "
        "config.json."
    )


def test_a_baseline_that_only_guesses_is_refused_and_the_sentence_says_what_it_may_be(project: Path) -> None:
    train_checkpoint(project, ("LABEL_0", "LABEL_1"), (1, 0))
    assert refused(spaced(project, "teacher: as_given")) == (
        f"teacher: the baseline must be better than guessing. Got {str(project.parent / 'model')!r} as given: "
        "its accuracy is 0.047 on 64 validation texts, and 0.500 with the answer 'sour' to each. "
        "The rows of its head may stand for the labels in another order, it may have been trained for another task, "
        "with another tokenizer, or not at all. Correct that, or write `teacher: finetune`."
    )


def test_a_baseline_that_was_hardly_trained_is_refused(project: Path) -> None:
    said = refused(spaced(project, "teacher: {finetune: {epochs: 1, lr: 1e-5}}"))
    assert "fine-tuned with epochs 1, lr 1e-05: its accuracy is 0.500" in said
    assert said.endswith("More epochs, or auto, or another lr may help; else the labels may not belong to the texts.")


def test_a_teacher_that_numbers_the_words_otherwise_is_refused(project: Path) -> None:
    train_checkpoint(project)
    other = project.parent / "other"
    shutil.copytree(project.parent / "model", other)
    file = other / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["honey"], vocabulary["lemon"] = vocabulary["lemon"], vocabulary["honey"]
    file.write_text(json.dumps(content))
    assert refused(spaced(project, "teacher: ./other")) == (
        f"teacher: its tokenizer must give the same numbers as the model's. Got {str(other)!r}: 'lemon' is number "
        "14 of the model's and 16 of the teacher's. Take a teacher with the model's own vocabulary, or write "
        "`teacher: finetune`."
    )


def test_a_teacher_that_cuts_texts_otherwise_is_refused_and_one_that_only_says_it_otherwise_is_not(
    project: Path,
) -> None:
    train_checkpoint(project)
    other = project.parent / "other"
    shutil.copytree(project.parent / "model", other)
    file = other / "tokenizer.json"
    content = json.loads(file.read_text())
    file.write_text(
        json.dumps(
            content | {"padding": None, "normalizer": {"type": "Sequence", "normalizers": [content["normalizer"]]}}
        )
    )
    spaced(project, "teacher: ./other")
    assert work.bench_of(Study.create(project, "alike").data).teacher_plan.training is None
    file.write_text(
        json.dumps(content | {"normalizer": {"type": "Replace", "pattern": {"String": "o"}, "content": "0"}})
    )
    with pytest.raises(ConfigError, match=r"the text '.*' becomes \[.*\] by the model's and \[.*\] by the teacher's"):
        work.bench_of(Study.create(project, "unlike").data).teacher_plan  # noqa: B018


def test_what_is_wrong_with_a_teachers_folder_is_said_of_the_teacher(project: Path) -> None:
    assert refused(spaced(project, "teacher: ./none")).startswith("teacher: must be a folder that exists")


@pytest.mark.parametrize("teacher", ["teacher: as_given", ""])
def test_a_checkpoint_that_answers_with_no_numbers_is_refused(project: Path, teacher: str) -> None:
    train_checkpoint(project)
    change(project.parent / "model" / "model.safetensors", spoil)
    texts = 64 if not teacher else 128  # validation texts for a decision, calibration texts for a teacher
    assert refused(spaced(project, teacher)) == (
        f"model: a checkpoint must answer with finite numbers. Got {str(project.parent / 'model')!r}: its answers to "
        f"{texts} of {texts} texts are not finite numbers (NaN or infinity). Its weights may hold NaN, or overflow: "
        "save a sound checkpoint."
    )


def test_nan_in_a_row_that_no_text_reads_is_no_trouble(project: Path) -> None:
    train_checkpoint(project)

    def unread(weights: dict[str, torch.Tensor]) -> None:
        weights["bert.embeddings.word_embeddings.weight"][1] = math.nan  # of [UNK]

    change(project.parent / "model" / "model.safetensors", unread)
    assert measured(spaced(project, "teacher: as_given")).measurement["score"] > 0.9


def test_a_trial_whose_answers_are_no_numbers_fails_with_its_reason(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.create(project)
    executor = InlineExecutor(lambda *_: None)
    executor.submit(Job("baseline", study.data)).result()
    bench = work.bench_of(study.data)
    bench.start  # noqa: B018
    whole = work._finished

    def spoilt(work: work.Work) -> work.Model:
        model = whole(work)
        with torch.no_grad():
            next(model.module.parameters()).fill_(math.inf)
        return model

    monkeypatch.setattr(work, "_finished", spoilt)
    cache.write_json(study.folder / "study.json", study.record | {"baseline": {"measurement": {"latency_ms": 1.0}}})
    recipe = Recipe([find("layers")(keep=0.5), find("finetune")(epochs=1)]).dump()
    failure = executor.submit(Job("evaluate", study.data, 0, recipe)).result().failure
    assert failure
    assert failure.expected
    assert failure.reason == "its answers to 64 of 64 texts are not finite numbers (NaN or infinity)"


def test_an_exported_model_that_answers_with_no_numbers_says_so(tmp_path: Path) -> None:
    class Broken:
        labels = None

        def run(self, batch: object) -> np.ndarray:
            return np.array([[0.0, np.nan]], np.float32)

    with pytest.raises(ConfigError) as error:
        pipeline._Checked(tmp_path, Broken(), kinds.of(TaskSettings(data="none"), ("a", "b"))).run(
            {"input_ids": np.array([[1]])}
        )
    assert str(error.value) == (
        f"{tmp_path}: should hold a model that answers with finite numbers. Got: its answers to 1 of 1 texts are not "
        "finite numbers (NaN or infinity)."
    )


def test_the_teachers_logits_are_computed_once_and_only_where_something_learns_from_them(
    project: Path, tmp_path: Path
) -> None:
    study = Study.create(project)
    InlineExecutor(lambda *_: None).submit(Job("baseline", study.data)).result()
    bench, place = work.bench_of(study.data), cache.cache_root() / "teacher_logits"
    plain, distilled = [{"finetune": {"epochs": 1}}], [{"soft_labels": {}}, {"finetune": {"epochs": 1}}]
    Ascent(bench, Recipe.load(plain), "0", lambda *_: None).train()
    work.apply(bench, bench.start, bench.context(seed=0, rehearsal=True), Recipe.load(distilled))
    assert not place.exists(), "neither without distillation nor in a rehearsal"
    Ascent(bench, Recipe.load(distilled), "1", lambda *_: None).train()
    (entry,) = [folder for folder in place.iterdir() if folder.is_dir()]
    kept_NC = load_file(entry / "logits.safetensors")["logits_NC"]
    for batch in bench.task.train.batches(1):
        row = int(batch["index"])
        expected_BC = bench.teacher.model(**{k: v for k, v in batch.items() if k not in ("labels", "index")}).logits
        torch.testing.assert_close(kept_NC[row : row + 1], expected_BC, atol=1e-4, rtol=1e-4)
