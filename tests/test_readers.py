"""Files, saved folders and hub data sets are read, and every sentence where they are not."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet
from tiny_tables import BY_SPLIT, TABLE, load, message, sizes, table, write

from autocompress.tasks.data import docstrings
from autocompress.tasks.data.readers import hub_name


def _write_csv(file: Path, columns: dict[str, list[Any]]) -> None:
    with file.open("w", newline="") as handle:
        rows = csv.writer(handle, delimiter="\t" if file.suffix == ".tsv" else ",")
        rows.writerows([columns, *zip(*columns.values(), strict=True)])


def _write_json(file: Path, columns: dict[str, list[Any]]) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    file.write_text("\n".join(map(json.dumps, rows)) if file.suffix == ".jsonl" else json.dumps(rows))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    columns = table([10, 9] * 5) | {"text": [*["NA", "null", "a, b", 'say "x"', "two\nlines"], *"vwxyz"]}
    file = tmp_path / f"all.{kind}"
    if kind == "parquet":
        parquet.write_table(pyarrow.table(columns), file)
    else:
        (_write_json if "json" in kind else _write_csv)(file, columns)
    texts = load(tmp_path, dict.fromkeys(("train", "validation", "test"), file.name))

    assert texts.labels == ("9", "10")
    found = sorted(
        (text, texts.labels[label]) for (text,), label in zip(texts.train.texts, texts.train.labels, strict=True)
    )
    assert found == sorted((text, str(label)) for text, label in zip(columns["text"], columns["label"], strict=True))


def test_saved_folder(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    split = datasets.Dataset.from_dict(TABLE, features=features)
    datasets.DatasetDict(train=split, dev=split, test=split).save_to_disk(tmp_path / "saved")
    texts = load(tmp_path, "saved")

    assert (texts.labels, sizes(texts), texts.notes) == (("neg", "pos"), (40, 40, 40), ())


def test_saved_folder_of_one_split(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(TABLE).save_to_disk(tmp_path / "saved")
    assert sizes(load(tmp_path, "saved")) == (33, 3, 4)


def test_folder_that_was_not_saved(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    rule = "a folder must be one that `datasets` wrote with save_to_disk"
    assert message(tmp_path, "folder") == f"task.data: {rule}. Got {str(tmp_path / 'folder')!r}. Or {BY_SPLIT}"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("imdb", ("stanfordnlp/imdb", None)),
        ("glue/sst2", ("nyu-mll/glue", "sst2")),
        ("nyu-mll/glue/sst2", ("nyu-mll/glue", "sst2")),
        ("stanfordnlp/imdb", ("stanfordnlp/imdb", None)),
        ("somewhere", ("somewhere", None)),
    ],
)
def test_hub_names(data: str, name: tuple[str, str | None]) -> None:
    assert hub_name(data) == name


@pytest.mark.parametrize("data", ["a/b/c/d", "glue/sst2/more", "a//b", "a/"])
def test_no_hub_name(data: str, tmp_path: Path) -> None:
    rule = "must be name, namespace/name or namespace/name/config of a hub dataset"
    assert message(tmp_path, data) == f"task.data: {rule}. Got {data!r}. Or {BY_SPLIT}"


def test_hub_dataset_as_glue_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named labels, a test split whose labels are all -1."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    full = datasets.Dataset.from_dict(TABLE, features=features)
    hidden = datasets.Dataset.from_dict(TABLE | {"label": [-1] * 40}, features=features)
    found = {("nyu-mll/glue", "sst2"): datasets.DatasetDict(train=full, validation=full, test=hidden)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: found[name, config])
    texts = load(tmp_path, "glue/sst2")

    assert (texts.labels, sizes(texts)) == (("neg", "pos"), (36, 4, 40))
    assert texts.notes == (
        "glue/sst2 test has no labels and is not used.",
        "There is no labelled test split: the validation split is the test split.",
        "The validation split is 4 of 40 training texts.",
    )


def test_hub_rows_that_nobody_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    train = datasets.Dataset.from_dict(TABLE | {"label": [-1, *TABLE["label"][1:]]}, features=features)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_: datasets.DatasetDict(train=train, validation=train, test=train)
    )
    texts = load(tmp_path, "snli")

    assert sizes(texts) == (39, 39, 39)
    assert texts.notes[0] == "snli train has 1 rows without a label, which are not used."


def test_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise ConnectionError("Couldn't reach the Hub.\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert message(tmp_path, "glue/sst2") == (
        "task.data: must be a folder that exists, or a hub dataset that can be read. Got 'glue/sst2', on the hub "
        f"'nyu-mll/glue': Couldn't reach the Hub. Check the name and the network, or {BY_SPLIT}"
    )


def test_hub_dataset_without_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = datasets.DatasetDict(test=datasets.Dataset.from_dict(TABLE))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: found)
    assert message(tmp_path, "a/b") == "task.data: a/b must have a train split. Got test."


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    assert message(tmp_path, "./no") == (
        f"task.data: must be a folder that exists, or a hub dataset. Got './no', that is {tmp_path}/no. Or {BY_SPLIT}"
    )
    assert message(tmp_path, "builtin/docstring") == (
        "task.data: there is no 'builtin/docstring'. Did you mean 'builtin/docstrings'?"
    )
    assert message(tmp_path, {"train": "no.csv"}) == (
        f"task.data.train: must be a file that exists. Got {str(tmp_path / 'no.csv')!r}."
    )
    assert message(tmp_path, {"train": "no.xlsx"}) == (
        f"task.data.train: must be one of .csv, .tsv, .jsonl, .json, .parquet. Got {str(tmp_path / 'no.xlsx')!r}."
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "text,label\nx,1\ny\n", "row 2 has 1 field, the header has 2"),
        ("a.json", '{"text": "x"}', "it does not hold a list of objects, one a row"),
        ("a.json", "[{}, 1, 2]", "row 2 does not hold an object, the first of 2 such rows"),
        ("a.jsonl", "{}\n\n[1]", "line 3 does not hold an object"),
        ("a.jsonl", "{}\n{", "line 2, column 2: Expecting property name enclosed in double quotes"),
        ("a.jsonl", '{}\n{"text": "x", "label": 1, "text": "y"}', "line 2: an object names 'text' 2 times"),
    ],
)
def test_broken_files(name: str, content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    kind, file = Path(name).suffix, str(tmp_path / name)
    assert (
        message(tmp_path, {"train": name})
        == f"task.data.train: must be a readable {kind} file. Got {file!r}: {reason}."
    )


def test_missing_columns(tmp_path: Path) -> None:
    data, file = write(tmp_path, train=TABLE), tmp_path / "train.parquet"
    assert message(tmp_path, data, text="sentence") == (
        f"task.text: must be a column of {file}. Got 'sentence'. Its columns: text, label."
    )
    assert message(tmp_path, data, label="class") == (
        f"task.label: must be a column of {file}. Got 'class'. Its columns: text, label."
    )


def test_builtin_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["about tables", "pandas"], ["about graphs", "networkx"]]
    monkeypatch.setattr(docstrings, "load", lambda: dict.fromkeys(("test", "validation", "train"), rows))
    texts = load(tmp_path, "builtin/docstrings")

    assert (texts.labels, texts.notes) == (("networkx", "pandas"), ())
    assert sorted(zip(texts.test.texts, texts.test.labels, strict=True)) == [
        (("about graphs",), 0),
        (("about tables",), 1),
    ]
