"""A training is put aside every few minutes, at an interrupt and at the deadline, and goes on bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_project import SPACE
from torch import nn

import autocompress
from autocompress.engine import confirmed, run
from autocompress.engine.budget import Budget
from autocompress.engine.events import Observer
from autocompress.errors import ConfigError, NothingFeasible
from autocompress.methods.pruning import movement
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import put_aside, work
from autocompress.trials.bench import Bench
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job
from autocompress.trials.perform import perform
from autocompress.trials.stages import Ascent

FINETUNE = {"finetune": {"epochs": 2, "lr": 5e-3, "freeze_embeddings": False}}  # 8 steps
RECIPE = Recipe.load([{"neurons": {"keep": 0.5, "multiple": 8}}, {"hidden_states": {}}, FINETUNE])
ROUNDED = Recipe.load([{"qat": {}}, FINETUNE])
NEVER = time.time() + 1e9

Steps = list[int]


@pytest.fixture
def bench(project: Path) -> Bench:
    study = Study.create(project)
    InlineExecutor(lambda *_: None).submit(Job("baseline", study.data)).result()
    return work.bench_of(study.data)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def counting(steps: Steps, fail_at: int = 0, error: type[BaseException] = KeyboardInterrupt) -> Callable[..., None]:
    """Notes every step; one of them fails."""

    def step(step: int, of: int, loss: float) -> None:
        steps.append(step)
        if step == fail_at:
            raise error

    return step


def elsewhere(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """A cache in which nothing is trained yet but the teacher, which is loaded already."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(place))


@pytest.mark.parametrize("recipe", [RECIPE, ROUNDED], ids=["plain", "with a schedule"])
@pytest.mark.parametrize("by", ["an interrupt", "time", "the deadline"])
def test_put_aside_without_rungs_and_taken_up_is_as_if_nothing_had_been(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, recipe: Recipe
) -> None:
    bench.start.eval()
    whole = Ascent(bench, recipe, "whole", lambda *_: None)
    expected = whole.model()
    elsewhere(monkeypatch, tmp_path / "another")
    steps: Steps = []
    if by == "an interrupt":
        with pytest.raises(KeyboardInterrupt):
            Ascent(bench, recipe, "part", counting(steps, 5)).train()
    elif by == "time":
        monkeypatch.setenv("AUTOCOMPRESS_SAVE_MINUTES", "0")
        with pytest.raises(ZeroDivisionError):  # a crash, after which nothing could be written
            Ascent(bench, recipe, "part", counting(steps, 6, ZeroDivisionError)).train()
        assert steps == [1, 2, 3, 4, 5, 6]
        steps.pop()
    else:
        late = lambda: NEVER + 1 if len(steps) >= 5 else 0.0  # noqa: E731
        monkeypatch.setattr(
            put_aside, "time", SimpleNamespace(time=late, monotonic=time.monotonic, perf_counter=time.perf_counter)
        )
        assert not Ascent(bench, recipe, "part", counting(steps), deadline=NEVER).train()
    part = Ascent(bench, recipe, "part", counting(steps))
    assert part.train()
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    module, plan = part.model()
    assert torch.equal(weights(module), weights(expected.module))
    assert plan.dump() == expected.plan.dump()
    assert all(torch.equal(plan.scales[name], scale) for name, scale in expected.plan.scales.items())
    assert bool(plan.scales) == (recipe is ROUNDED)
    assert [point["loss"] for point in part.record.curve] == [point["loss"] for point in whole.record.curve]
    assert not (tmp_path / "part" / "aside").exists()


@pytest.mark.parametrize(
    "step",
    [
        {"movement": {"sparsity": 0.5}}, {"l0_gates": {"keep": 0.5}}, {"l0_gates": {"granularity": "layers"}},
        {"rank_gates": {}}, {"lora": {}}, {"magnitude": {"schedule": "cubic"}}, {"ternary": {}},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_schedule_trains_is_put_aside_with_the_rest(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any]
) -> None:
    """After each step of 8, for what is looked at only now and then, or until then."""
    bench.start.eval()
    monkeypatch.setattr(movement, "_EVERY", 3)
    recipe = Recipe.load([step, FINETUNE])
    whole = Ascent(bench, recipe, "whole", lambda *_: None)
    expected = whole.model().module
    for at in (1, 3, 5, 7):
        elsewhere(monkeypatch, tmp_path / f"another{at}")
        with pytest.raises(KeyboardInterrupt):
            Ascent(bench, recipe, f"part{at}", counting([], at)).train()
        part = Ascent(bench, recipe, f"part{at}", lambda *_: None)
        found = part.model().module
        assert [point["loss"] for point in part.record.curve] == [point["loss"] for point in whole.record.curve]
        assert weights(found).shape == weights(expected).shape
        assert torch.equal(weights(found), weights(expected))


@pytest.mark.parametrize("by", ["an interrupt", "the deadline"])
def test_an_assistant_is_put_aside_too(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """In its own training, which stands still for the recipe's: step 0 is told of at each of its 8."""
    bench.start.eval()
    recipe = Recipe.load([{"assistant": {"keep": 0.5}}, {"soft_labels": {}}, FINETUNE])
    expected = Ascent(bench, recipe, "whole", lambda *_: None).model().module
    elsewhere(monkeypatch, tmp_path / "another")
    steps: Steps = []

    def until_fifth(*told: object) -> None:
        steps.append(0)
        if len(steps) == 5 and by == "an interrupt":
            raise KeyboardInterrupt

    if by == "an interrupt":
        with pytest.raises(KeyboardInterrupt):
            Ascent(bench, recipe, "part", until_fifth).train()
    else:
        late = lambda: NEVER + 1 if len(steps) >= 5 else 0.0  # noqa: E731
        monkeypatch.setattr(
            put_aside, "time", SimpleNamespace(time=late, monotonic=time.monotonic, perf_counter=time.perf_counter)
        )
        assert not Ascent(bench, recipe, "part", until_fifth, deadline=NEVER).train()
    told: Steps = []
    part = Ascent(bench, recipe, "part", lambda step, *_: told.append(step))
    assert part.train()
    assert told == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert torch.equal(weights(part.model().module), weights(expected))
    assert not (tmp_path / "part" / "aside").exists()


def test_the_teacher_is_put_aside_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, steps = Study.create(project), Steps()
    data = study.data
    elsewhere(monkeypatch, project.parent / "whole")
    expected = weights(Bench(data).teacher.model)
    elsewhere(monkeypatch, project.parent / "parts")
    assert not perform(Job("baseline", data, deadline=0.0), counting(steps)).trained
    with pytest.raises(KeyboardInterrupt):
        perform(Job("baseline", data), counting(steps, 4))
    done = perform(Job("baseline", data), counting(steps))
    assert done.trained
    assert steps == list(range(1, 17)), "of 4 epochs of 4 steps"
    assert torch.equal(weights(Bench(data).teacher.model), expected)
    assert study.artefacts.get("aside") is None


class Late(Observer):
    """The time is up at the third step of a trial's training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self.up = Steps(), False
        budget = Budget(4, deadline=1e6, clock=lambda: 1e7 if self.up else 0.0)
        monkeypatch.setattr(run, "_budget", lambda study, limits: budget)
        clock = SimpleNamespace(
            time=lambda: time.time() + (1e7 if self.up else 0.0), monotonic=time.monotonic,
            perf_counter=time.perf_counter,
        )  # fmt: skip
        monkeypatch.setattr(put_aside, "time", clock)

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        if job.kind == "train":
            self.steps.append(step)
            self.up = self.up or len(self.steps) == 3


@pytest.mark.slow
def test_at_the_deadline_of_a_search_its_training_is_put_aside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = lambda study: [(t.number, t.state, t.recipe, t.measurement) for t in study.trials]  # noqa: E731
    whole = autocompress.search(project, name="whole", trials=2)
    elsewhere(monkeypatch, project.parent / "another")
    study = Study.create(project, "parts")
    with monkeypatch.context() as patch:
        late = Late(patch)
        with pytest.raises(NothingFeasible, match=r"^the time is up\. "):
            study.run(observer=late)
    assert late.steps == [1, 2, 3]
    assert [t.state for t in study.trials] == ["running"]
    note = json.loads((study.folder / "trials" / "000" / "aside" / "aside.json").read_text())
    assert note["step"] == 3
    study.run(trials=2)
    assert facts(study) == facts(whole)


@pytest.mark.slow
def test_no_time_at_all_is_no_time(project: Path) -> None:
    study = Study.create(project)
    with pytest.raises(NothingFeasible, match=r"^the time is up before the baseline was measured\. "):
        study.run(timeout=0)
    assert study.baseline is None
    autocompress.search(project, trials=1)
    assert study.run(trials=2, timeout=0) == "the time is up"
    assert study.charged() == 1


@pytest.mark.slow
def test_confirmation_is_put_aside_at_the_deadline_and_counts_as_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text(SPACE.replace("confirm: {top: 0}", "confirm: {top: 1, seeds: 2}"))
    study = Study.create(project)
    with monkeypatch.context() as patch:
        patch.setattr(run, "_other_seconds", lambda study: 0.0)  # of the teacher
        study.run(trials=1, training_hours=1e-9)
    assert study.confirmed == {}, "its one training used up the hours"
    with monkeypatch.context() as patch:
        late = Late(patch)
        patch.setattr(run, "_budget", lambda study, limits: Budget(1, 1e6, clock=lambda: 1e7 if late.up else 0.0))
        study.run(observer=late)
    assert late.steps == [1, 2, 3]
    assert study.confirmed == {}
    study.run(trials=1, observer=late)
    assert late.steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(study.confirmed) == 1
    assert confirmed.training_seconds(study.artefacts) > 0


def test_how_often_is_a_number_of_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert put_aside.save_seconds() == 300
    monkeypatch.setenv("AUTOCOMPRESS_SAVE_MINUTES", "0.5")
    assert put_aside.save_seconds() == 30
    monkeypatch.setenv("AUTOCOMPRESS_SAVE_MINUTES", "often")
    with pytest.raises(ConfigError, match="AUTOCOMPRESS_SAVE_MINUTES: it should be a number of minutes such as 5 or"):
        put_aside.save_seconds()
