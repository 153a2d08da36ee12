"""What is done to one recipe: rehearse it, train it, evaluate it. Each is a job for an executor."""

from __future__ import annotations

import copy
import functools
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from autocompress.machine import cache, fault_points
from autocompress.machine.timer import Seconds, Stopwatch
from autocompress.methods.context import OnStep
from autocompress.models import storage
from autocompress.runtimes import isolated, latency
from autocompress.search import study_file
from autocompress.search.trial import Measurement
from autocompress.space import keys
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.trials.applicability import not_applicable
from autocompress.trials.bench import Workbench
from autocompress.trials.stages import Ascent, Model, apply, save_model

_REMEASURED = "remeasured.json"  # in the trial's folder


@dataclass(frozen=True)
class Work:
    """What a job works with: the study's workbench, one recipe, and someone to tell about training steps."""

    bench: Workbench
    recipe: Recipe
    number: int
    on_step: OnStep
    share: float = 1.0  # of the training
    repeat: int = 0  # of the seeds
    deadline: float = math.inf  # of its training, in seconds since 1970

    @property
    def place(self) -> Path:
        """The trial's folder."""
        return trial_folder(self.bench.folder, self.number, self.repeat)


@dataclass(frozen=True)
class Done:
    """What a job has to say."""

    measurement: Measurement
    seconds: Seconds
    notes: tuple[str, ...] = ()
    rungs: dict[str, float] = field(default_factory=dict)
    rung_seconds: dict[str, float] = field(default_factory=dict)
    trained: bool = True
    left_out: dict[str, str] = field(default_factory=dict)


def workbench(folder: Path) -> Workbench:
    """This process's workbench of the study in `folder`: another study that was made there since has one of its own."""
    return loaded(folder, study_file.read(folder)["id"])


@functools.lru_cache(maxsize=4)
def loaded(folder: Path, study: str) -> Workbench:
    """`study`: its id."""
    return Workbench(folder)


def trial_folder(study: Path, number: int, repeat: int = 0) -> Path:
    """Where a trial keeps what was made of it: aside/, model/, artefact/, curve.jsonl, ... A repeat has its own."""
    return study / "trials" / (f"{number:03d}" + (f"-{repeat}" if repeat else ""))


def baseline(work: Work) -> Done:
    """The teacher, uncompressed, on the target: fine-tuned if it must be, lowered, scored, timed."""
    bench, clock = work.bench, Stopwatch()
    bench.check_target()
    with clock("train"):
        bench.teach(work.on_step, work.deadline)
    with clock("lower"):
        bench.lower_baseline()
    with clock("evaluate"):
        score = bench.baseline_score()
    with clock("measure"):
        reference_ms = latency.absolute_latency(bench.baseline, bench.example, bench.target)
        one: Measurement = {"speedup": 1.0, "speedup_low": 1.0, "speedup_high": 1.0, "latency_tail": 1.0}
        sizes = bench.sizes(bench.teacher.model, bench.baseline_folder)
        sizes["archive_mb"] = latency.archive_mb(bench.runtime.artefact(bench.baseline_folder))
    measured = latency.in_milliseconds(one, reference_ms) | sizes | {"score": score}
    measured |= _training_seconds(bench, bench.teacher_seconds)
    fault_points.point("baseline")
    return Done(measured, clock.seconds, bench.notes)


def applies(work: Work) -> Done:
    """Which methods of the space cannot act on the model, whatever their knobs."""
    clock = Stopwatch()
    with clock("applies"):
        left_out = not_applicable(work.bench)
    return Done({}, clock.seconds, left_out=left_out)


def rehearse(work: Work) -> Done:
    """The recipe with no training data: size and latency on the target, before anything is trained.

    Remembered twice: by the recipe without its training knobs (nothing is built at all), and by the shapes it leads to
    (no artefact is made).
    """
    bench, clock = work.bench, Stopwatch()

    def by_shape() -> Measurement:
        ctx = bench.context(seed=0, rehearsal=True)
        model = apply(bench, copy.deepcopy(bench.start), ctx, work.recipe)
        bench.runtime.support(ctx.precision, bench.target)
        return _shape(bench, Model(model, ctx.precision))

    with clock("rehearse"):
        measured = cache.value("rehearsals", keys.rehearsal(work.recipe, bench.surroundings), by_shape)
    fault_points.point("rehearsed")
    return Done(latency.in_milliseconds(measured, bench.reference_ms), clock.seconds)


def train(work: Work) -> Done:
    """Train up to a share of the recipe's steps. What was trained before, by whomever, is not trained again."""
    clock = Stopwatch()
    _sweep(work.place)
    ascent = Ascent(work.bench, work.recipe, work.place, work.on_step, work.share, work.repeat, work.deadline)
    with clock("train"):
        trained = ascent.train()
        record = ascent.record
        work.place.mkdir(parents=True, exist_ok=True)
        (work.place / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in record.curve))
    measured = {"training_steps": float(len(record.curve))} | _training_seconds(work.bench, record.seconds)
    spent = record.rung_seconds | ({share_name(1.0): record.seconds} if trained else {})
    return Done(measured, clock.seconds, rungs=record.rungs, rung_seconds=spent, trained=trained)


def evaluate(work: Work) -> Done:
    """Do what follows the training, lower the module, and measure the artefact that would ship."""
    bench, place, clock = work.bench, work.place, Stopwatch()
    _sweep(place)
    with clock("train"):
        model = _finished(work)
    artefact = place / "artefact"
    with clock("lower"):
        bench.runtime.support(model.plan, bench.target)
        cache.write_folder(place / "model", lambda draft: save_model(model, draft))
        lower = bench.runtime.lower
        cache.write_folder(artefact, lambda draft: lower(model.module, model.plan, bench.example, draft))
        session = bench.runtime.open(artefact, bench.target)
    fault_points.point("lowered")
    with clock("evaluate"):
        score = bench.scorer.validation(session, None if work.repeat else work.number)
    with clock("measure"):
        measured = _shape(bench, model, artefact) | bench.sizes(model.module, artefact)
        measured["archive_mb"] = latency.archive_mb(bench.runtime.artefact(artefact))
    fault_points.point("evaluated")
    return Done(latency.in_milliseconds(measured, bench.reference_ms) | score, clock.seconds)


def remeasure(work: Work) -> Done:
    """The artefact's latency in a process of its own, which has loaded this artefact and the baseline's only. Once."""
    bench, clock, file = work.bench, Stopwatch(), work.place / _REMEASURED
    with clock("remeasure"):
        if not file.exists():
            ratios = isolated.latency(work.place / "artefact", bench.baseline_folder, bench.example, bench.target)
            cache.write_json(file, latency.in_milliseconds(ratios, bench.reference_ms))
    return Done(json.loads(file.read_text()), clock.seconds)


def remeasured(study: Path, number: int) -> Measurement:
    """What that job measured of a trial; nothing, if it was not done."""
    file = trial_folder(study, number) / _REMEASURED
    known: Measurement = json.loads(file.read_text()) if file.is_file() else {}
    return known


def judge(work: Work) -> Done:
    """Score the chosen artefact and the baseline on the untouched test split."""
    bench, clock = work.bench, Stopwatch()
    with clock("judge"):
        chosen = bench.runtime.open(work.place / "artefact", bench.target)
        scores = {"test_score": bench.scorer.test(chosen), "baseline_test_score": bench.scorer.test(bench.baseline)}
    return Done(scores, clock.seconds)


def _sweep(place: Path) -> None:
    """Delete what a process that was killed at it was writing there."""
    for draft in place.glob(".*"):
        shutil.rmtree(draft, ignore_errors=True)


def _finished(work: Work) -> Model:
    """The trained module once what follows the training is done."""
    bench, trained = work.bench, work.recipe.trained
    module, plan = Ascent(
        bench, work.recipe, work.place, work.on_step, repeat=work.repeat, deadline=work.deadline
    ).model()
    ctx = bench.context(bench.seed_of(trained, work.repeat), plan)
    return Model(apply(bench, module, ctx, work.recipe, len(trained), work.repeat), ctx.precision)


def _shape(bench: Workbench, model: Model, artefact: Path | None = None) -> Measurement:
    """Size and latency, which equal shapes have alike: measured once, on `artefact` or on one that is thrown away."""

    def measured() -> Measurement:
        with bench.scratch() as scratch:
            if artefact is None:
                bench.runtime.lower(model.module, model.plan, bench.example, scratch)
            session = bench.runtime.open(artefact or scratch, bench.target)
            ratios = latency.latency(session, bench.baseline, bench.example, bench.target)
            return ratios | bench.sizes(model.module, artefact or scratch)

    return cache.value("shapes", keys.shape(storage.signature(*model), bench.surroundings), measured)


def _training_seconds(bench: Workbench, seconds: float) -> Measurement:
    """Only where a goal asks for it: it is never the same twice."""
    return {"training_seconds": seconds} if bench.space.goals.speak_of("training_seconds") else {}
