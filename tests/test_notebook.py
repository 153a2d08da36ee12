"""A study in a notebook: what it shows of itself, and the example script as a person runs it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from rich.console import Console

from autocompress.study import Study

EXAMPLE = Path(__file__).parent.parent / "examples" / "compare_and_choose.py"


def test_the_example_runs_and_a_study_shows_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study.create(project)
    assert repr(study) == "<Study 'space': its baseline was not measured yet>"
    assert study._repr_html_() == "<p>space: its baseline was not measured yet</p>"
    assert study.to_dataframe().empty

    monkeypatch.setattr(sys, "argv", ["compare_and_choose.py", "space.yaml"])
    made = runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().out
    study = made["study"]
    assert repr(study) in said
    assert {"label", "score"} <= made["answer"].keys()
    assert all((project.parent / page).is_file() for page in ("front.html", "importance.html"))

    frame = study.to_dataframe()
    assert list(frame.index) == [t.number for t in study.trials if t.state != "duplicate"]
    assert frame.loc[study.front[0].number, "score"] == study.front[0].measurement["score"]
    console = Console(width=100, record=True)
    console.print(study)
    shown, page = console.export_text(), study._repr_html_()
    assert f"{study.charged()} trials trained, {len(study.front)} on the front" in shown
    for trial in study.front:
        assert f"t{trial.number:03d}" in shown
        assert f"t{trial.number:03d}" in page
    assert "baseline" in shown
    assert page.count("<tr>") == len(study.front) + 2
