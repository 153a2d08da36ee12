"""Several teachers, named in a list: a knob that holds a list takes it as its one value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_project import SPACE, train_checkpoint

import autocompress
from autocompress.errors import ConfigError
from autocompress.space.search_space import SearchSpace

TAUGHT = "{ensemble: {teachers: [./model]}}, soft_labels, finetune: {epochs: 1, lr: 1e-3}"


def space(steps: str) -> SearchSpace:
    return SearchSpace.parse(yaml.safe_load(SPACE.split("anchors:")[0] + "steps:\n" + steps))


def test_a_list_is_one_value_and_is_written_as_one() -> None:
    searched = space("  - ensemble: {teachers: [./one, ./other]}\n  - soft_labels\n  - finetune\n")
    assert searched.dump()["steps"][0] == {"ensemble": {"teachers": ["./one", "./other"]}}
    assert SearchSpace.parse(searched.dump()) == searched


@pytest.mark.parametrize("given", ["./one", "[1]", "{low: 1, high: 2}", "[[./one]]"])
def test_anything_else_is_no_list_of_teachers(given: str) -> None:
    with pytest.raises(ConfigError, match=r"ensemble\.teachers"):
        space(f"  - ensemble: {{teachers: {given}}}\n  - soft_labels\n  - finetune\n")


def test_a_list_is_asked_for_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"ensemble\.teachers should be a list\. Got '\./one'\."):
        space("  - ensemble: {teachers: ./one}\n  - soft_labels\n  - finetune\n")


def test_a_search_learns_from_all_of_them(project: Path) -> None:
    train_checkpoint(project)
    head = SPACE.split("anchors:")[0].replace("  - size_mb <= 0.95 * baseline\n", "").replace("trials: 4", "trials: 1")
    project.write_text(f"{head}anchors:\n  - [{TAUGHT}]\nsteps: [{TAUGHT}]\n")
    study = autocompress.search(project)
    [trial] = [trial for trial in study.trials if trial.recipe]
    assert "score" in trial.measurement
    assert trial.recipe.dump()[0] == {"ensemble": {"teachers": ["./model"]}}
