"""From texts to batches, scores and a fingerprint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tables import TABLE, tokenizer, write
from transformers import PreTrainedTokenizerFast

from autocompress.errors import ConfigError
from autocompress.space.settings import TaskSettings
from autocompress.tasks import tokenization
from autocompress.tasks.task import Task
from autocompress.tasks.tokenization import encode


def task(folder: Path, words: PreTrainedTokenizerFast | None = None, **more: Any) -> Task:
    data = write(folder, train=TABLE, validation=TABLE, test=TABLE)
    return Task.load(TaskSettings(data=data, **{"max_length": 8} | more), words or tokenizer(), 0, folder)


def test_examples_are_tokenised_texts(tmp_path: Path) -> None:
    found = task(tmp_path)
    row = found.texts.train.texts.index(("good film 1",))

    assert {name: rows[row] for name, rows in found.train.fields.items()} == {
        "input_ids": [2, 4, 6, 1, 3], "attention_mask": [1] * 5, "token_type_ids": [0] * 5,
    }  # fmt: skip
    assert found.train.labels[row] == 1
    assert found.train.pad == {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0}


def test_no_token_types_for_models_without_them(tmp_path: Path) -> None:
    found = task(tmp_path, tokenizer(model_input_names=["input_ids", "attention_mask"]))
    assert found.train.fields.keys() == found.train.pad.keys() == {"input_ids", "attention_mask"}


def test_long_texts_are_cut(tmp_path: Path) -> None:
    columns = {"text": ["good " * 20, "bad " * 20] * 5, "label": [0, 1] * 5}
    found = Task.load(TaskSettings(data=write(tmp_path, train=columns), max_length=9), tokenizer(), 0, tmp_path)
    assert {len(ids) for ids in found.train.fields["input_ids"]} == {9}


def test_two_columns_are_a_pair(tmp_path: Path) -> None:
    columns = {"premise": ["good"] * 20, "hypothesis": ["bad book"] * 20, "label": [0, 1] * 10}
    settings = TaskSettings(data=write(tmp_path, train=columns), text=["premise", "hypothesis"])
    found = Task.load(settings, tokenizer(), 0, tmp_path)

    assert found.train.fields["input_ids"][0] == [2, 4, 3, 5, 7, 3]
    assert found.train.fields["token_type_ids"][0] == [0, 0, 0, 1, 1, 1]


def test_end_token_pads_where_there_is_no_other(tmp_path: Path) -> None:
    assert task(tmp_path, tokenizer(pad_token=None, eos_token="[SEP]")).train.pad["input_ids"] == 3


def test_nothing_to_pad_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        _ = task(tmp_path, tokenizer(pad_token=None)).train
    assert str(error.value) == (
        "model: its tokenizer must have a padding or an end-of-sequence token. Got neither. "
        "Set tokenizer.pad_token and save the tokenizer again."
    )


def test_each_split_is_tokenised_when_asked_for_and_once(tmp_path: Path) -> None:
    found = task(tmp_path)
    assert not {"train", "validation", "test"} & vars(found).keys()
    assert found.validation is found.validation
    assert {"train", "validation", "test"} & vars(found).keys() == {"validation"}


def test_score_is_the_metric_of_the_best_logits(tmp_path: Path) -> None:
    logits_NC = np.array([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    found = task(tmp_path)

    assert found.settings.metric == "accuracy"
    assert found.score(logits_NC, [0, 1, 0, 0]) == found.score(torch.tensor(logits_NC), [0, 1, 0, 0]) == 0.75
    assert task(tmp_path, metric="mcc").score(logits_NC, [0, 1, 0, 0]) == pytest.approx(1 / np.sqrt(3))


def test_fingerprint_follows_what_numbers_follow(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    same = [task(tmp_path).fingerprint, task(tmp_path / "elsewhere").fingerprint]
    others = [
        task(tmp_path, max_length=9).fingerprint,
        task(tmp_path, limit={"test": 3}).fingerprint,
        task(tmp_path, tokenizer(eos_token="[SEP]", pad_token=None)).fingerprint,
    ]
    same.append(task(tmp_path, metric="mcc").fingerprint)  # it scores the same batches
    assert len(set(same)) == 1
    assert len({same[0], *others}) == 4


def test_a_fingerprint_does_not_depend_on_what_was_tokenised_before(tmp_path: Path) -> None:
    fresh, used = task(tmp_path), task(tmp_path)
    assert len(used.train.fields["input_ids"]) == len(TABLE["text"])
    assert used.tokenizer.backend_tokenizer.truncation, "which it did not have"
    assert used.fingerprint == fresh.fingerprint


def test_importing_the_task_loads_neither_datasets_nor_transformers() -> None:
    code = "import sys, autocompress.tasks.task; "
    code += "sys.exit(bool({'datasets', 'transformers', 'sklearn'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_first_texts_cost_no_more_than_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration reads 128 texts of perhaps a million."""
    files = write(tmp_path, train=TABLE, validation=TABLE, test=TABLE)
    task = Task.load(TaskSettings(data=files), tokenizer(), 0, tmp_path)
    counts = []
    monkeypatch.setattr(
        tokenization, "encode", lambda t, texts, most: counts.append(len(texts)) or encode(t, texts, most)
    )
    head = task.train_head(8)
    assert counts == [8]
    assert (head.fields, head.labels) == (task.train.head(8).fields, task.train.head(8).labels)
