"""Stages: trained once for everybody, put aside at rungs, taken up again as if nothing had been."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_project import SPACE
from torch import nn

import autocompress
from autocompress.engine.events import Observer
from autocompress.errors import Diverged
from autocompress.machine import cache
from autocompress.methods.context import Context, Schedule
from autocompress.methods.training.finetune import Finetune
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import arithmetic, work
from autocompress.trials.artefacts import trial_key
from autocompress.trials.bench import Bench
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job
from autocompress.trials.stages import Ascent

FINETUNE = {"finetune": {"epochs": 2, "lr": 5e-3, "freeze_embeddings": False}}  # 8 steps
ONE = [{"neurons": {"keep": 0.5, "multiple": 8}}, {"hidden_states": {}}, FINETUNE]
ROUNDED = [ONE[0], {"qat": {"embeddings": False}}, FINETUNE, {"soft_labels": {}}, {"embedding": {}}, FINETUNE]
TWO = [*ONE, {"layers": {"keep": 0.5}}, {"soft_labels": {}}, FINETUNE, {"int8_dynamic": {}}]


@pytest.fixture
def bench(project: Path) -> Bench:
    study = Study.create(project)
    InlineExecutor(lambda *_: None).submit(Job("baseline", study.data)).result()
    return work.bench_of(study.data)


def test_a_study_made_again_in_the_place_of_another_is_loaded_anew(project: Path) -> None:
    before = work.bench_of(Study.create(project).data)
    assert before.space.task.max_length == 16
    shutil.rmtree(before.study.artefacts)
    project.write_text(SPACE.replace("max_length: 16", "max_length: 12"))
    after = work.bench_of(Study.create(project).data)
    assert (after.study.artefacts, after.space.task.max_length) == (before.study.artefacts, 12)
    assert work.bench_of(after.study) is after


class Steps:
    """Counts the steps that were taken."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []

    def __call__(self, step: int, steps: int, loss: float) -> None:
        self.taken.append((step, steps))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("steps", [ONE, TWO, ROUNDED], ids=["one stage", "two stages", "with a schedule"])
def test_put_aside_and_taken_up_is_as_if_nothing_had_been(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[dict[str, dict[str, object]]]
) -> None:
    recipe, total = Recipe.load(steps), 8 * len(Recipe.load(steps).stages)
    whole = Ascent(bench, recipe, "whole", Steps())
    assert whole.train()
    expected = weights(whole.model().module)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "another"))
    shutil.copytree(cache.cache_root().parent / "cache" / "teachers", cache.cache_root() / "teachers")
    said, place = Steps(), "parts"
    for share, names in ((1 / 9, ["0.111"]), (1 / 3, ["0.111", "0.333"])):
        ascent = Ascent(bench, recipe, place, said, share)
        assert not ascent.train()
        assert list(ascent.record.rungs) == names
        assert all(0 <= score <= 1 for score in ascent.record.rungs.values())
        torch.manual_seed(99)  # what other trials do in between
    again = Ascent(bench, recipe, place, said, 1 / 9)
    assert not again.train(), "asked for once more, after a crash: answered at once"
    last = Ascent(bench, recipe, place, said)
    assert last.train()
    assert said.taken == [(i, total) for i in range(1, total + 1)], "no step was taken twice"
    assert [point["step"] for point in last.record.curve] == [float(i) for i in range(1, total + 1)]
    assert torch.equal(weights(last.model().module), expected)
    assert bench.artefacts.get("parts/aside") is None


def test_equal_beginnings_are_trained_once(bench: Bench, tmp_path: Path) -> None:
    first, second, third = Steps(), Steps(), Steps()
    Ascent(bench, Recipe.load(TWO), "0", first).train()
    Ascent(bench, Recipe.load([*ONE, {"int8_dynamic": {}}]), "1", second).train()
    other_end = [*ONE, {"layers": {"keep": 0.5}}, FINETUNE]
    Ascent(bench, Recipe.load(other_end), "2", third).train()
    assert [len(s.taken) for s in (first, second, third)] == [16, 0, 8]


def test_rungs_are_of_the_recipe_that_was_scored_and_of_no_other_that_begins_alike(
    bench: Bench, tmp_path: Path
) -> None:
    short, long = Recipe.load(ONE), Recipe.load(TWO)
    for share in (1 / 9, 1 / 3, 1.0):
        first = Ascent(bench, short, "short", Steps(), share)
        first.train()
    assert list(first.record.rungs) == ["0.111", "0.333"]
    for share in (1 / 9, 1 / 3, 0.75):
        after = Ascent(bench, long, "long", Steps(), share)
        assert not after.train()
    assert list(after.record.rungs) == ["0.750"], "at a ninth and a third of its steps it was trained already"
    again = Ascent(bench, short, "again", Steps(), 1 / 3)
    assert again.train()
    assert again.record.rungs == first.record.rungs, "a recipe's own are kept with what it trained"


def test_a_stage_that_a_longer_recipe_trained_brings_none_of_its_rungs(bench: Bench, tmp_path: Path) -> None:
    for share in (1 / 9, 1 / 3, 1.0):
        long = Ascent(bench, Recipe.load(TWO), "long", Steps(), share)
        long.train()
    assert list(long.record.rungs) == ["0.111", "0.333"]
    short = Ascent(bench, Recipe.load(ONE), "short", Steps(), 1 / 9)
    assert short.train()
    assert (short.record.rungs, short.record.rung_seconds) == ({}, {})
    assert len(short.record.curve) == 8


class Fading(Schedule):
    """Lets the head's bias fade to nothing, and counts in a tensor what it did. Before its half nobody can tell."""

    settled_at = 0.5

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = [head]  # not a part of it
        self.register_buffer("steps", torch.zeros(()))
        self.begun = 0

    def begin(self, model: nn.Module, steps: int) -> None:
        assert model.classifier is self.head[0]
        self.begun = steps

    def step(self, progress: float) -> None:
        self.steps += 1
        assert progress == self.steps / self.begun

    def settle(self, model: nn.Module) -> None:
        assert model.classifier is self.head[0], "a copy settles the model that was copied with it"
        with torch.no_grad():
            model.classifier.bias.fill_(self.steps)


@pytest.fixture
def fading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training fades."""
    whole = Finetune.apply

    def with_a_schedule(self: Finetune, model: nn.Module, ctx: Context) -> nn.Module:
        ctx.schedules.append(Fading(model.classifier))
        return whole(self, model, ctx)

    monkeypatch.setattr(Finetune, "apply", with_a_schedule)


@pytest.mark.usefixtures("fading")
def test_a_schedule_is_put_aside_with_its_training_and_scored_once_it_is_settled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[list[float]] = []
    monkeypatch.setattr(bench.scorer, "rung", lambda model: scored.append(model.classifier.bias.tolist()) or 0.5)
    said, recipe = Steps(), Recipe.load(ONE)
    for share, rungs in ((1 / 9, []), (1 / 3, []), (3 / 4, ["0.750"])):
        ascent = Ascent(bench, recipe, "0", said, share)
        assert not ascent.train(), "before it is settled it is put aside too, without a score"
        assert list(ascent.record.rungs) == rungs
    last = Ascent(bench, recipe, "0", said)
    assert last.train()
    assert [step for step, _ in said.taken] == list(range(1, 9))
    assert scored == [[6.0] * len(scored[0])]
    assert last.model().module.classifier.bias.tolist() == [8.0] * len(scored[0])


def test_another_seed_trains_another_model(bench: Bench, tmp_path: Path) -> None:
    models = [Ascent(bench, Recipe.load(ONE), "0", Steps(), repeat=r).model().module for r in (0, 1)]
    assert not torch.equal(*map(weights, models))


def test_importance_is_computed_once_for_the_same_model_and_texts(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocompress.methods import importance

    computed, whole = [], importance.taylor

    def counting(model: nn.Module, *rest: object) -> list[torch.Tensor]:
        computed.append(model)
        return whole(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importance, "taylor", counting)
    for keep in (0.25, 0.5, 0.75):
        Ascent(bench, Recipe.load([{"neurons": {"keep": keep, "multiple": 8}}, FINETUNE]), "0", Steps()).train()
    assert len(computed) == 1
    Ascent(bench, Recipe.load([{"layers": {}}, {"neurons": {"multiple": 8}}, FINETUNE]), "0", Steps()).train()
    assert len(computed) == 2


class Trainings(Observer):
    def __init__(self) -> None:
        self.steps = 0

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self.steps += job.kind == "train"


@pytest.mark.slow
def test_a_second_search_takes_no_step_for_what_it_shares_with_the_first(project: Path) -> None:
    first, second = Trainings(), Trainings()
    one = autocompress.search(project, name="first", observer=first)
    project.write_text(SPACE.replace("sequence_length: 16", "sequence_length: 8"))  # another target, the same trainings
    two = autocompress.search(project, name="second", observer=second)
    assert first.steps
    shared = {t.recipe.trained.key for t in one.trials} >= {t.recipe.trained.key for t in two.trials if t.charged}
    assert shared, "this seed's searches share all trainings"
    assert second.steps == 0
    assert two.charged() == 4


@pytest.mark.slow
def test_a_trained_stage_that_was_lost_is_trained_again(project: Path) -> None:
    study = autocompress.search(project, trials=1)
    best = study.front[0]
    score = best.measurement["score"]
    for kind in ("trained", "shapes"):
        shutil.rmtree(cache.cache_root() / kind)
    shutil.rmtree(study.folder / trial_key(best.number))
    out = study.export("out", best.number)
    assert json.loads((out / "measurement.json").read_text())["trial"]["score"] == score
    assert autocompress.pipeline(out)("honey stone")[0]["label"] == "sweet"


def test_a_training_that_diverges_says_which(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object) -> float:
        raise Diverged("finetune: the loss is nan")

    assert bench.teacher.model  # trained before anything diverges
    monkeypatch.setattr("autocompress.methods.training.finetune.Training._advance", diverge)
    recipe = Recipe.load(TWO)
    for kind in ("train", "evaluate"):
        result = InlineExecutor(lambda *_: None).submit(Job(kind, bench.study, 0, recipe.dump())).result()
        assert result.failure
        assert result.failure.diverged == recipe.stages[0].key


def test_a_gpu_is_trained_on_and_spoken_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    monkeypatch.setattr(arithmetic, "multiplies", lambda device: False)  # there is no GPU to ask
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        anew = Bench(bench.study)
        where = (str(anew.device), str(anew.context(0).device), str(anew.context(0, rehearsal=True).device))
        assert where == (("cuda:0", "cuda:0", "cpu") if gpu else ("cpu", "cpu", "cpu"))
        assert any("GPU" in note for note in anew.notes) == gpu
        found[gpu] = (anew.teacher_key, anew.prefix_key(Recipe.load(ONE)))
    assert not set(found[False]) & set(found[True])


def test_the_target_is_in_the_prefix_of_a_method_that_uses_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def each() -> list[str]:
        found = []
        for length in (8, 16):
            other = Bench(bench.study)
            other.target = bench.target.model_copy(update={"sequence_length": length})
            found.append(other.prefix_key(Recipe.load(ONE)))
        return found

    assert len(set(each())) == 1
    monkeypatch.setattr(Finetune, "uses_target", True)
    assert len(set(each())) == 2
