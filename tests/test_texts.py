"""Texts and labels are checked, and splits made, cut and limited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_tables import TABLE, load, message, sizes, table, write


@pytest.mark.parametrize(("first", "second"), [(None, "x"), ("", None), (" \n", "")])
def test_texts_that_are_empty(first: str | None, second: str | None, tmp_path: Path) -> None:
    data = write(tmp_path, train={"text": ["x", first, "y", second], "label": [0, 1, 0, 1]})
    count = 1 if second else 2
    assert message(tmp_path, data) == (
        f"task.text: every row must have a text that is not empty. Got {first!r} in row 2 of "
        f"{tmp_path / 'train.parquet'}, column 'text', the first of {count} such rows. Fill them in or leave them out."
    )


def test_texts_that_are_numbers(tmp_path: Path) -> None:
    data = write(tmp_path, train={"text": [1, 2], "label": [0, 1]})
    assert message(tmp_path, data) == (
        "task.text: every row must have a text that is not empty. Got 1 in row 1 of "
        f"{tmp_path / 'train.parquet'}, column 'text', the first of 2 such rows. Fill them in or leave them out."
    )


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a"], ("a", "b")),
        ([10, 9], ("9", "10")),
        (["10", "9"], ("9", "10")),
        ([1.0, 0.0], ("0", "1")),
        ([True, False], ("False", "True")),
        ([1, -1], ("-1", "1")),
    ],
)
def test_labels_are_numbered_in_order(labels: list[Any], names: tuple[str, ...], tmp_path: Path) -> None:
    columns = table(labels * 10)
    texts = load(tmp_path, write(tmp_path, train=columns, validation=columns, test=columns))
    number_of = {text[0]: label for text, label in zip(texts.train.texts, texts.train.labels, strict=True)}

    assert texts.labels == names
    assert [number_of[text] for text in columns["text"]] == [1, 0] * 10


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[0], [1]]], ids=["scores", "lists"])
def test_labels_of_other_tasks(labels: list[Any], tmp_path: Path) -> None:
    assert message(tmp_path, write(tmp_path, train=table(labels))) == (
        f"task.label: must be text or whole numbers. Got {labels[0]!r} in row 1 of {tmp_path / 'train.parquet'}, "
        "column 'label'."
    )


@pytest.mark.parametrize("labels", [[0, 1, None, None], [0.0, 1.0, float("nan"), None], ["a", "b", "", None]])
def test_some_labels_are_missing(labels: list[Any], tmp_path: Path) -> None:
    where = f"2 without one in {tmp_path / 'train.parquet'}, the first in row 3"
    assert message(tmp_path, write(tmp_path, train=table(labels))) == (
        f"task.label: every row must have a label. Got {where}. Fill them in or leave them out."
    )


def test_all_training_labels_are_missing(tmp_path: Path) -> None:
    assert message(tmp_path, write(tmp_path, train=table([-1, -1]))) == (
        f"task.label: the training texts must have labels. Got none in {tmp_path / 'train.parquet'}."
    )


def test_one_label_only(tmp_path: Path) -> None:
    assert message(tmp_path, write(tmp_path, train=table([3] * 20))) == (
        "task.label: must have two values or more in the training texts. "
        f"Got '3' in all 20 rows of {tmp_path / 'train.parquet'}."
    )


@pytest.mark.parametrize("given", [["train", "validation"], ["train", "test"], ["train", "validation", "test"]])
def test_label_that_train_does_not_have(given: list[str], tmp_path: Path) -> None:
    """Every split that is wrong is a line of its own."""
    odd = table(["0", "1", "0", "0.0"])
    data = write(tmp_path, **{split: table(["0.0", "1.0"] * 5) if split == "train" else odd for split in given})
    assert message(tmp_path, data).splitlines() == [
        "task.label: every label must occur in the training texts. Got '0' in row 1 of "
        f"{tmp_path / split}.parquet, the first of 3 such rows. "
        f"The labels of {tmp_path / 'train.parquet'}: '0.0', '1.0'."
        for split in given[1:]
    ]


@pytest.mark.parametrize(
    ("labels", "left", "lost"), [(["a", "b", "a"], 1, "a"), (["a", "b"], 0, "a"), ([*"abcdef", "a"], 5, "e")]
)
def test_too_few_rows_to_cut_splits_from(labels: list[str], left: int, lost: str, tmp_path: Path) -> None:
    assert message(tmp_path, write(tmp_path, train=table(labels))) == (
        f"task.data: {tmp_path / 'train.parquet'} has {len(labels)} rows for {len(set(labels))} labels, too few to cut "
        f"validation and test splits from: {left} would be left to train on, none with the label {lost!r}. "
        "Give more rows, or name files: {validation: FILE, test: FILE}."
    )


def test_a_limit_that_loses_a_label(tmp_path: Path) -> None:
    data = write(tmp_path, train=table([*"abc"] * 20))
    assert sorted(load(tmp_path, data, limit={"train": 3}).train.labels) == [0, 1, 2]
    assert message(tmp_path, data, limit={"train": 2}) == (
        "task.limit.train: must be at least 3, one text for each label. Got 2."
    )


def test_blanks_around_labels_are_taken_off_and_said(tmp_path: Path) -> None:
    train, clean = table(["good ", "good", "\tbad", "bad"] * 5), table(["good", "bad"])
    texts = load(tmp_path, write(tmp_path, train=train, validation=clean, test=clean))
    assert texts.labels == ("bad", "good")
    assert texts.notes == (
        f"The blanks around 10 labels of {tmp_path / 'train.parquet'} are taken off: 'good ' is read as 'good'.",
    )


def test_a_label_of_blanks_is_no_label(tmp_path: Path) -> None:
    assert "2 without one in" in message(tmp_path, write(tmp_path, train=table(["a", "b", " ", "\n"])))


def test_labels_that_look_alike_are_said(tmp_path: Path) -> None:
    columns = table(["Good", "good", "caf\u00e9", "cafe\u0301", "so so", "so  so"])
    texts = load(tmp_path, write(tmp_path, train=columns, validation=columns, test=columns))
    assert texts.notes == (
        "The labels 'cafe\u0301' and 'caf\u00e9' look alike, and are two.",
        "The labels 'Good' and 'good' look alike, and are two.",
        "The labels 'so  so' and 'so so' look alike, and are two.",
    )


def test_the_labels_are_counted(tmp_path: Path) -> None:
    texts = load(tmp_path, write(tmp_path, train=table([*"aab"]), validation=table([*"b"]), test=table([*"ab"])))
    assert texts.summary == (
        "There are 2 labels: 'a' (train 2, validation 0, test 1), 'b' (train 1, validation 1, test 1)."
    )
    many = table([*map(str, range(30))])
    summary = load(tmp_path, write(tmp_path, train=many, validation=many, test=many)).summary
    assert summary.startswith("There are 30 labels: '0' (train 1, validation 1, test 1), '1' (")
    assert summary.endswith("'19' (train 1, validation 1, test 1), and 10 more.")


def test_one_order_whatever_the_hash_seed() -> None:
    code = """
from autocompress.tasks.data.labels import in_order
print(*map(in_order, ({"1", "01", "+1", "-2"}, {"10.0", "9.0", "9"}, {"b", "10", "9"}, {"true", "false"})))
"""
    said = {
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": str(seed)},
                       capture_output=True, text=True, check=True).stdout for seed in range(6)
    }  # fmt: skip
    assert said == {"('-2', '+1', '01', '1') ('9', '9.0', '10.0') ('10', '9', 'b') ('false', 'true')\n"}


def test_mistakes_of_all_splits_at_once(tmp_path: Path) -> None:
    bad = {"text": ["x", ""], "label": ["a", "b"]}
    data = write(tmp_path, train=table(["a", None]), test=bad) | {"validation": "no.csv"}
    assert [line.split(":")[0] for line in message(tmp_path, data | {"test": "no.jsonl"}).splitlines()] == [
        "task.data.test", "task.data.validation",
    ]  # fmt: skip
    del data["validation"]
    assert [line.split(":")[0] for line in message(tmp_path, data).splitlines()] == ["task.label", "task.text"]


@pytest.mark.parametrize(
    ("given", "counts", "notes"),
    [
        (["train", "validation", "test"], (40, 40, 40), ()),
        (["train", "test"], (36, 4, 40), ("The validation split is 4 of 40 training texts.",)),
        (
            ["train", "validation"],
            (36, 4, 40),
            (
                "There is no labelled test split: the validation split is the test split.",
                "The validation split is 4 of 40 training texts.",
            ),
        ),
        (
            ["train"],
            (33, 3, 4),
            ("The test split is 4 of 40 training texts.", "The validation split is 3 of 36 training texts."),
        ),
    ],
    ids=["all", "no validation", "no test", "train alone"],
)
def test_missing_splits(given: list[str], counts: tuple[int, ...], notes: tuple[str, ...], tmp_path: Path) -> None:
    texts = load(tmp_path, write(tmp_path, **dict.fromkeys(given, TABLE)))
    assert (sizes(texts), texts.notes) == (counts, notes)


def test_cut_splits_share_no_text_and_lose_none(tmp_path: Path) -> None:
    texts = load(tmp_path, write(tmp_path, train=TABLE))
    found = [text for split in (texts.train, texts.validation, texts.test) for (text,) in split.texts]
    assert sorted(found) == sorted(TABLE["text"])


def test_test_split_without_a_label_column(tmp_path: Path) -> None:
    texts = load(tmp_path, write(tmp_path, train=TABLE, test={"text": ["x"]}))
    assert texts.notes[0] == f"{tmp_path / 'test.parquet'} has no labels and is not used."
    assert sizes(texts) == (33, 3, 4)


def test_seed_decides_the_cut(tmp_path: Path) -> None:
    data = write(tmp_path, train=TABLE)
    assert load(tmp_path, data, seed=1) == load(tmp_path, data, seed=1)
    assert set(load(tmp_path, data, seed=1).validation.texts) != set(load(tmp_path, data, seed=2).validation.texts)


def test_every_beginning_is_stratified(tmp_path: Path) -> None:
    columns = table(["common"] * 60 + ["usual"] * 30 + ["rare"] * 9 + ["single"])
    texts = load(
        tmp_path, write(tmp_path, train=columns, validation=columns, test=columns), limit={"train": 50, "test": 4}
    )

    assert Counter(texts.train.labels) == {0: 30, 3: 15, 1: 4, 2: 1}
    assert sorted(texts.test.labels) == [0, 1, 2, 3]
    assert len(texts.validation.labels) == 100


def test_smaller_limit_is_a_beginning_of_the_larger(tmp_path: Path) -> None:
    data = write(tmp_path, train=TABLE)
    small, large = (load(tmp_path, data, limit={"train": count}).train for count in (10, 20))
    assert small.texts == large.texts[:10]


def test_a_single_row_of_a_label_stays_in_train(tmp_path: Path) -> None:
    columns = table(["common"] * 30 + ["single"])
    for seed in range(30):
        assert 1 in load(tmp_path, write(tmp_path, train=columns), seed).train.labels
