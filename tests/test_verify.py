"""Measuring a stored folder again: what agrees, what differs, what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from commands import run_here
from conftest import exact_int8

from autocompress.errors import ConfigError
from autocompress.machine import fingerprint
from autocompress.runtimes import isolated
from autocompress.serving.folder import digest_of
from autocompress.serving.verify import Check, verify
from autocompress.space.settings import TaskSettings
from autocompress.tasks.data.splits import load_texts
from autocompress.tasks.metrics import METRICS

STORED = Path(__file__).parent / "stored"
DATA = str(STORED / "validation.csv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, in an empty current folder, on a machine where the model is as fast as it was."""
    copy = Path(shutil.copytree(STORED / "format-1", tmp_path / "exported"))
    measured = json.loads((copy / "measurement.json").read_text())
    monkeypatch.setattr(fingerprint, "machine", lambda device: measured["machine"])
    monkeypatch.setattr(isolated, "absolute_latency", lambda *a: measured["trial"]["latency_ms"] * 1.1)
    monkeypatch.chdir(tmp_path)
    return copy


def change(folder: Path, name: str, part: str, **changes: Any) -> None:
    file = folder / name
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {part: found[part] | changes}))


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.quantity: check for check in checks}


@exact_int8
def test_an_untouched_folder_agrees(folder: Path) -> None:
    checks = verify(folder, DATA)
    assert [check.quantity for check in checks] == ["score", "latency_ms", "size_mb"]
    assert [check.verdict for check in checks] == ["agrees"] * 3
    assert checks[0].now == pytest.approx(checks[0].stored, abs=1 / 64)
    assert checks[2].now == checks[2].stored == (folder / "model.onnx").stat().st_size / 1e6


@pytest.mark.parametrize(("name", "stored"), [("score", 0.9), ("latency_ms", 1e-6), ("size_mb", 1.0)])
def test_a_figure_that_is_not_true_differs(folder: Path, name: str, stored: float) -> None:
    change(folder, "measurement.json", "trial", **{name: stored, f"{name}_low": stored, f"{name}_high": stored})
    change(folder, "measurement.json", "trial", latency_ms_high=0.0)
    checks = by_name(verify(folder, DATA))
    assert (checks[name].agrees, checks[name].verdict, checks[name].stored) == (False, "differs", stored)


def test_a_model_that_got_faster_is_as_fast_as_it_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "absolute_latency", lambda *a: 1e-3)
    check = by_name(verify(folder, DATA))["latency_ms"]
    assert (check.agrees, check.verdict) == (True, "agrees: faster")


def test_another_machine_is_not_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "machine", lambda device: {"cpu": "another"})
    monkeypatch.setattr(isolated, "absolute_latency", lambda *a: 99.0)
    check = by_name(verify(folder, DATA))["latency_ms"]
    assert (check.agrees, check.now) == (None, 99.0)
    assert check.verdict.startswith("not compared: it was measured on ")


@exact_int8
def test_the_studys_own_texts_are_found_from_the_current_folder(folder: Path) -> None:
    check = by_name(verify(folder))["score"]
    assert (check.agrees, check.now) == (None, None)
    assert check.verdict == "not measured: the study's texts are not here, give --data"
    for split in ("train", "validation", "test"):
        shutil.copy(DATA, f"{split}.csv")
    assert by_name(verify(folder))["score"].verdict == "agrees"


def test_texts_of_the_hub_are_not_fetched_unasked(folder: Path) -> None:
    change(folder, "serving.json", "task", data="glue/sst2")
    assert by_name(verify(folder))["score"].now is None


def test_other_texts_are_scored_and_not_compared(folder: Path) -> None:
    Path("other.csv").write_text("text,label\nhoney tree,sweet\nlemon tree,sour\nsugar stone,sour\n")
    check = by_name(verify(folder, "other.csv"))["score"]
    assert check.now == pytest.approx(2 / 3)
    assert (check.agrees, check.verdict) == (None, "not compared: 3 other texts than the study's")


def test_labels_that_the_model_does_not_know_are_refused(folder: Path) -> None:
    Path("other.csv").write_text("text,label\nhoney tree,sweet\nlemon tree,bitter\n")
    with pytest.raises(ConfigError) as caught:
        verify(folder, "other.csv")
    assert str(caught.value) == "--data: every label should be one of the model's: sour, sweet. Got 'bitter'."


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_may_be_off_by_one_answer_and_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, metric: Literal["accuracy", "macro_f1", "mcc"]
) -> None:
    """Of 2 sour texts in 18 one wrong answer costs macro F1 three times what it costs the accuracy."""
    Path("other.csv").write_text("text,label\n" + "lemon tree,sour\n" * 2 + "honey tree,sweet\n" * 16)
    change(folder, "serving.json", "task", metric=metric)
    texts = load_texts(TaskSettings(data=dict.fromkeys(("train", "validation", "test"), "other.csv")), 0, Path())
    digest = digest_of(texts.validation.texts, texts.validation.labels, texts.kind)
    change(folder, "serving.json", "texts", validation=digest)
    labels = np.array([0] * 2 + [1] * 16)
    one_off, two_off = labels.copy(), labels.copy()
    one_off[0], two_off[[0, -1]] = 1, (1, 0)
    for answers, agrees in ((labels, True), (one_off, True), (two_off, False)):
        change(folder, "measurement.json", "trial", score=METRICS[metric](answers, labels))
        check = by_name(verify(folder, "other.csv"))["score"]
        assert (check.now, check.agrees) == (pytest.approx(1.0), agrees)


def test_figures_that_are_missing_are_named(folder: Path) -> None:
    (folder / "measurement.json").unlink()
    with pytest.raises(ConfigError, match=r"measurement\.json: it should hold what was measured\. There is no such"):
        verify(folder, DATA)


@exact_int8
def test_the_command_prints_a_table_or_json_and_its_exit_code_says_whether_all_agree(folder: Path) -> None:
    change(folder, "measurement.json", "machine", cpu="another")
    command = [folder.parent, "verify", str(folder), "--data", DATA]
    told = run_here(*command, "--json")
    assert told.returncode == 0, told.stderr
    checks = json.loads(told.stdout)
    assert [list(check) for check in checks] == [["quantity", "stored", "now", "agrees", "verdict"]] * 3
    change(folder, "measurement.json", "trial", size_mb=1.0)
    shown = run_here(*command)
    assert shown.returncode == 1
    assert "differs" in shown.stdout
    wrong = run_here(*command[:-1], "nowhere.csv")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "task.data.train: must be a file that exists. Got 'nowhere.csv'.\n"
