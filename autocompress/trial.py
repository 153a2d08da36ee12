"""What is done to one recipe: rehearse it, train it, evaluate it. Each is a job for an executor.

A job gets the study's workbench, the recipe, the trial's number and someone to tell about training steps, and returns a
measurement and the seconds its parts took.
"""

from __future__ import annotations

import copy
import functools
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from autocompress import cache, measure, structure
from autocompress.context import Context, OnStep
from autocompress.ledger import Measurement
from autocompress.precision import PrecisionPlan
from autocompress.recipe import Recipe, digest
from autocompress.workbench import Workbench

Seconds = dict[str, float]


class Done(NamedTuple):
    """What a job has to say."""

    measurement: Measurement
    seconds: Seconds
    notes: tuple[str, ...] = ()


@functools.cache
def workbench(folder: Path) -> Workbench:
    """This process's workbench of the study in `folder`."""
    return Workbench(folder)


def trial_folder(study: Path, number: int) -> Path:
    """Where a trial keeps what it made: model/, artefact/, curve.jsonl, measurement.json."""
    return study / "trials" / f"{number:03d}"


def baseline(bench: Workbench, recipe: Recipe, number: int, on_step: OnStep) -> Done:
    """The teacher, uncompressed, on the target: fine-tuned if it must be, lowered, scored, timed."""
    clock = Stopwatch()
    with clock("train"):
        bench.teach(on_step)
    with clock("lower"):
        bench.lower_baseline()
    with clock("evaluate"):
        score = bench.score(bench.baseline)
    with clock("measure"):
        reference_ms = measure.absolute_latency(bench.baseline, bench.example, bench.target)
        one: Measurement = {"speedup": 1.0, "speedup_low": 1.0, "speedup_high": 1.0, "latency_tail": 1.0}
        sizes = bench.sizes(bench.teacher.model, bench.baseline_folder)
        sizes["archive_mb"] = measure.archive_mb(bench.runtime.artefact(bench.baseline_folder))
    return Done(measure.in_milliseconds(one, reference_ms) | sizes | {"score": score}, clock.seconds, bench.notes)


def rehearse(bench: Workbench, recipe: Recipe, number: int, on_step: OnStep) -> Done:
    """The recipe with no training data: size and latency on the target, before anything is trained.

    Remembered twice: by the recipe without its training knobs (nothing is built at all), and by the shapes it leads to
    (no artefact is made).
    """
    clock = Stopwatch()

    def by_shape() -> Measurement:
        model, ctx = _apply(bench, recipe, Context(bench.teacher, bench.calibration, bench.target, seed=0))
        bench.runtime.support(ctx.precision, bench.target)
        shapes = digest([structure.signature(model, ctx.precision), bench.surroundings])
        return cache.value("shapes", shapes, lambda: _measure_shape(bench, model, ctx.precision))

    with clock("rehearse"):
        measured = cache.value("rehearsals", digest([recipe.shape_key, bench.surroundings]), by_shape)
    return Done(measure.in_milliseconds(measured, bench.reference_ms), clock.seconds)


def train(bench: Workbench, recipe: Recipe, number: int, on_step: OnStep) -> Done:
    """Apply the recipe for real and keep the module. What was trained before an interruption is not trained again."""
    clock = Stopwatch()
    place = trial_folder(bench.folder, number) / "model"
    if (place / "recipe.json").exists() and json.loads((place / "recipe.json").read_text()) == recipe.dump():
        return Done({}, {})
    curve: list[dict[str, float]] = []

    def watch(step: int, steps: int, loss: float) -> None:
        curve.append({"step": step, "loss": loss})
        on_step(step, steps, loss)

    def build(draft: Path) -> None:
        _save(model, ctx.precision, draft)
        cache.write_json(draft / "recipe.json", recipe.dump())

    with clock("train"):
        seed = bench.seed_of(recipe)
        ctx = Context(bench.teacher, bench.calibration, bench.target, bench.task.train, seed, watch)
        model, ctx = _apply(bench, recipe, ctx)
        shutil.rmtree(place.parent, ignore_errors=True)
        place.parent.mkdir(parents=True)
        (place.parent / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in curve))
        cache.write_folder(place, build)
    return Done({"training_steps": float(len(curve))}, clock.seconds)


def evaluate(bench: Workbench, recipe: Recipe, number: int, on_step: OnStep) -> Done:
    """Lower the trained module and measure the artefact that would ship."""
    clock = Stopwatch()
    place = trial_folder(bench.folder, number)
    model, plan = load_trained(place / "model")
    artefact = place / "artefact"
    with clock("lower"):
        bench.runtime.support(plan, bench.target)
        cache.write_folder(artefact, lambda draft: bench.runtime.lower(model, plan, bench.example, draft))
        session = bench.runtime.open(artefact, bench.target)
    with clock("evaluate"):
        score = bench.score(session)
    with clock("measure"):
        ratios = measure.latency(session, bench.baseline, bench.example, bench.target)
        sizes = bench.sizes(model, artefact) | {"archive_mb": measure.archive_mb(bench.runtime.artefact(artefact))}
    return Done(measure.in_milliseconds(ratios, bench.reference_ms) | sizes | {"score": score}, clock.seconds)


def judge(bench: Workbench, recipe: Recipe, number: int, on_step: OnStep) -> Done:
    """Score the chosen artefact and the baseline on the untouched test split."""
    clock = Stopwatch()
    with clock("judge"):
        chosen = bench.runtime.open(trial_folder(bench.folder, number) / "artefact", bench.target)
        scores = {"test_score": bench.test_score(chosen), "baseline_test_score": bench.test_score(bench.baseline)}
    return Done(scores, clock.seconds)


def load_trained(folder: Path) -> tuple[nn.Module, PrecisionPlan]:
    """A trained module and the precisions its recipe planned for it."""
    return structure.load(folder), PrecisionPlan.load(folder)


def _save(model: nn.Module, plan: PrecisionPlan, folder: Path) -> None:
    structure.save(model, folder)
    plan.save(folder)


def _apply(bench: Workbench, recipe: Recipe, ctx: Context) -> tuple[nn.Module, Context]:
    """Every method in order, on a copy of the model that trials start from."""
    torch.manual_seed(ctx.seed)
    model = copy.deepcopy(bench.start)
    for method in recipe:
        model = method.apply(model, ctx)
    return model.eval(), ctx


def _measure_shape(bench: Workbench, model: nn.Module, plan: PrecisionPlan) -> Measurement:
    """Lower into a scratch folder, measure, throw away."""
    with bench.scratch() as folder:
        bench.runtime.lower(model, plan, bench.example, folder)
        session = bench.runtime.open(folder, bench.target)
        return measure.latency(session, bench.baseline, bench.example, bench.target) | bench.sizes(model, folder)


class Stopwatch:
    """`with clock("train"):` adds to `clock.seconds["train"]`."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start
