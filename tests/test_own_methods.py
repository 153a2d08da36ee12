"""A method of the user's own is one file in a folder of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_project import make_project

import autocompress
from autocompress.errors import ConfigError
from autocompress.space import method as registry
from autocompress.space.search_space import SearchSpace

FILE = '''"""Multiply the classifier by a number. 2026."""
from typing import Annotated, ClassVar
import torch
from pydantic import Field
from autocompress.space.distributions import Range
from autocompress.space.method import Method


class Louder(Method):
    """Never pays."""

    stage: ClassVar[str] = "factor"
    pays: ClassVar[tuple] = ("quality",)
    values_only: ClassVar[bool] = True
    times: Annotated[float, Field(gt=0), Range(1.0, 2.0)] = 1.5

    @torch.no_grad()
    def apply(self, model, ctx):
        model.classifier.weight.mul_(self.times)
        return model
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    registry.methods()  # the catalogue is there before
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))  # what is loaded here stays here
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(folder: Path, name: str, text: str = FILE) -> None:
    (folder / "my_methods").mkdir(exist_ok=True)
    (folder / "my_methods" / f"{name}.py").write_text(text)


def space_with(project: Path, steps: str) -> Path:
    """The tiny project's space with other steps, and with the folder of methods."""
    path = make_project(project)
    kept = path.read_text().split("constraints:")[0]
    search = "search: {trials: 1, variants: 0, built_in_anchors: false, confirm: {top: 0}}"
    path.write_text(f"methods: ./my_methods\n{kept}{search}\nsteps:\n{steps}")
    return path


def test_it_is_searched_exported_and_part_of_the_keys(project: Path) -> None:
    own(project, "louder")
    path = space_with(project, "  - louder: {times: [1.5]}\n  - finetune: {epochs: 1}\n")
    study = autocompress.search(path, name="own", trials=1)
    [trial] = [t for t in study.trials if t.recipe]
    assert [m.name for m in trial.recipe] == ["louder", "finetune"]
    assert study.record["revisions"]["louder"] != 1  # a digest of its code
    assert study.record["methods"]["louder"]["family"] == "my_methods"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("heads", FILE, "is that of another method"),
        ("broken", "import nothing_of_that_name", "cannot be run. ModuleNotFoundError"),
        ("empty", "x = 1", "must define a subclass"),
    ],
)
def test_what_is_no_method_is_a_sentence(project: Path, name: str, text: str, said: str) -> None:
    own(project, name, text)
    with pytest.raises(ConfigError, match=said):
        SearchSpace.load(space_with(project, "  - finetune\n"))


def test_a_folder_that_is_not_there(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"space\.yaml:1: methods must be a folder of Python files.*my_methods"):
        SearchSpace.load(space_with(project, "  - finetune\n"))


def test_a_students_checkpoint_that_is_not_there_is_told_before_anything_is_trained(project: Path) -> None:
    path = make_project(project)
    kept = path.read_text().split("constraints:")[0]
    path.write_text(kept + "steps:\n  - student: {model: ./nothing}\n  - finetune\n")
    with pytest.raises(ConfigError, match=r"^steps: must be a folder that exists.*'\./nothing'"):
        autocompress.search(path, name="without", trials=1)
