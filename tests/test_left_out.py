"""Methods that cannot act on a model at all leave its space before the search, and only they."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_project import SPACE
from torch import nn

import autocompress
from autocompress.engine.events import Observer
from autocompress.errors import ConfigError, NotApplicable
from autocompress.machine import cache
from autocompress.methods.context import Context
from autocompress.space.language.steps import every_method
from autocompress.space.method import Method, find, methods
from autocompress.space.search_space import SearchSpace
from autocompress.study import Study
from autocompress.trials.applicability import settings
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job

STEPS = """
  - one_of: [skip, layers, [soft_labels, heads], int8_dynamic]
  - one_of: [layers, skip]
  - finetune: {epochs: 1, lr: 1e-3}
"""


class Heard(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.jobs: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, job: Job) -> None:
        self.jobs.append(job.kind)


def space(steps: str, head: str = SPACE) -> SearchSpace:
    return SearchSpace.parse(yaml.safe_load(head.split("anchors:")[0] + "steps:" + steps))


@pytest.fixture
def stranger(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, with a model that `layers` and `heads` do not know."""

    def refuse(self: Method, model: nn.Module, ctx: Context) -> nn.Module:
        raise NotApplicable("the layout of this model is not known")

    for name in ("layers", "heads"):
        monkeypatch.setattr(find(name), "apply", refuse)
    return project


def test_options_leave_with_what_they_need() -> None:
    whole = space(STEPS)
    left = whole.without({"0.1.heads", "1.layers"})
    assert left
    assert [each.at for each in every_method(left.steps)] == ["0.layers", "0.int8_dynamic", "2.finetune"]
    assert left.dump()["steps"][0] == {"one_of": ["skip", *whole.dump()["steps"][0]["one_of"][1::2]]}
    assert left.dump()["steps"][1] == {"one_of": ["skip"]}
    assert whole.without({}) is whole
    assert whole.without({"2.finetune"}) is None, "every recipe needs it"
    assert space("\n  - one_of: [skip, layers]\n").without({"0.layers"}) is None, "only nothing is left"


def test_a_method_is_asked_at_the_ends_of_its_knobs() -> None:
    (layers,) = every_method(space("\n  - layers: {keep: {low: 0.2, high: 0.8}, strategy: [top, alternate]}\n").steps)
    asked = [(each.keep, each.strategy) for each in settings(layers)]
    assert asked == [(0.5, "alternate"), (0.2, "alternate"), (0.8, "alternate"), (0.5, "top"), (0.2, "top")]


@pytest.mark.slow
def test_what_cannot_act_on_the_model_is_said_once_and_not_proposed(stranger: Path) -> None:
    steps = "\n  - one_of: [skip, layers]\n  - one_of: [skip, heads]\n  - finetune: {epochs: 1, lr: 1e-3}\n"
    head = SPACE.split("constraints:")[0] + "search: {trials: 3, confirm: {top: 0}}\n"
    stranger.write_text(
        head + "steps:" + steps + "  - one_of: [skip, int8_dynamic: {per_token: true, exclude: none}]\n"
    )
    study, heard = Study.create(stranger), Heard()
    reason = study.run(observer=heard)
    assert reason.startswith("the space is exhausted: all ")
    assert [note for note in heard.notes if "left out" in note] == [
        "layers and heads cannot act on this model, whatever the knobs, and are left out of the search: "
        "the layout of this model is not known"
    ]
    assert {t.state for t in study.trials} <= {"complete", "duplicate"}
    assert set(study.record["left_out"]) == {"0.layers", "1.heads"}
    again = Heard()
    study.run(observer=again)
    assert "applies" in heard.jobs
    assert "applies" not in again.jobs
    assert not [note for note in again.notes if "left out" in note]


def test_a_space_of_which_nothing_is_left_is_an_error(stranger: Path) -> None:
    stranger.write_text(SPACE.split("anchors:")[0] + "steps:\n  - layers: {keep: 0.5}\n  - finetune: {epochs: 1}\n")
    study = Study.create(stranger)
    with pytest.raises(
        ConfigError, match=r"^no recipe of this space can be applied to ./model:\n  layers cannot act on"
    ):
        study.run()
    assert not study.trials


@pytest.mark.slow
def test_a_method_that_acts_with_some_of_its_knobs_stays(project: Path) -> None:
    text = project.read_text().replace("layers: {keep: 0.5}, neurons", "layers: {keep: [0.8, 0.9, 0.5]}, neurons")
    project.write_text(text)
    study = autocompress.search(project, trials=1)
    assert study.record["left_out"] == {}


def test_every_method_acts_on_a_model_of_a_known_family(project: Path) -> None:
    """Alone, as it is asked; but for what the runtime has no kernels for."""
    offered = [name for name, method in methods().items() if not method.trains]
    head = SPACE.split("constraints:")[0]
    project.write_text(head + f"steps:\n  - one_of: [skip, {', '.join(offered)}]\n  - finetune\n")
    study = Study.create(project)
    InlineExecutor(lambda *_: None).submit(Job("baseline", study.data)).result()
    left_out = InlineExecutor(lambda *_: None).submit(Job("applies", study.data)).result().left_out
    assert left_out == {}


@pytest.mark.slow
def test_a_study_that_has_trials_is_not_asked_again(project: Path) -> None:
    study = autocompress.search(project, trials=1)
    cache.write_json(study.folder / "study.json", {k: v for k, v in study.record.items() if k != "left_out"})
    heard = Heard()
    study.run(trials=2, observer=heard)
    assert "applies" not in heard.jobs
    assert study.record["left_out"] == {}
