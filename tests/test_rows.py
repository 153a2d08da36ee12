"""Many rows: tokenised once, kept as arrays that processes share, and read as if they were lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_tables import TABLE, tokenizer, write

from autocompress.space.settings import TaskSettings
from autocompress.tasks import task as task_module
from autocompress.tasks import tokenization
from autocompress.tasks.ragged import Ragged
from autocompress.tasks.task import Task

ROWS = [[3, 1], [], [7], [2**31 - 1, -100, 5]]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    Ragged.append(tmp_path, "ids", ROWS[:1])
    Ragged.append(tmp_path, "ids", ROWS[1:])
    found = Ragged(tmp_path, "ids")
    assert list(found) == ROWS
    assert [found[i] for i in (-1, 1)] == [ROWS[-1], ROWS[1]]
    assert found[1:3] == ROWS[1:3]
    assert len(found) == 4
    with pytest.raises(IndexError):
        found[4]
    assert isinstance(found._values, np.memmap)
    Ragged.append(tmp_path, "none", [[], []])
    assert list(Ragged(tmp_path, "none")) == [[], []]


def loaded(folder: Path) -> Task:
    data = write(folder, train=TABLE, validation=TABLE, test=TABLE)
    return Task.load(TaskSettings(data=data, max_length=8), tokenizer(), 0, folder)


def test_a_large_split_is_tokenised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    plain = loaded(tmp_path).train
    monkeypatch.setattr(task_module, "_WORTH_KEEPING", 1)
    monkeypatch.setattr(task_module, "_PIECE", 3)
    kept, encode, counts = loaded(tmp_path).train, tokenization.encode, list[int]()
    monkeypatch.setattr(
        tokenization, "encode", lambda t, texts, most: counts.append(len(texts)) or encode(t, texts, most)
    )
    again = loaded(tmp_path).train
    assert counts == []
    for found in (kept, again):
        assert found.labels == plain.labels
        assert found.pad == plain.pad
        for ours, theirs in zip(found.batches(3, seed=1), plain.batches(3, seed=1), strict=True):
            assert ours.keys() == theirs.keys()
            assert all(ours[name].equal(theirs[name]) for name in ours)
            assert all(ours[name].dtype == theirs[name].dtype for name in ours)


def test_the_fingerprint_is_that_of_the_whole_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which studies and caches of before know."""
    found = loaded(tmp_path)
    texts, read = found.texts, [found.settings.kind, found.settings.max_length]
    rows = [[split.texts, split.labels] for split in (texts.train, texts.validation, texts.test)]
    pad = tokenization.padding(found.tokenizer)
    whole = json.dumps([rows, texts.labels, read, pad, found.tokenizer.backend_tokenizer.to_str()], sort_keys=True)
    monkeypatch.setattr(task_module, "_PIECE", 3)
    assert found.fingerprint == hashlib.sha256(whole.encode()).hexdigest()
