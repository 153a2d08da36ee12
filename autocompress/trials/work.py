"""What is done to one recipe: rehearse it, train it, evaluate it. Each is a job for an executor."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from autocompress.machine import fault_points, heap
from autocompress.machine.timer import Seconds, Stopwatch
from autocompress.methods.context import OnStep
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import latency, workloads
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.trials.applicability import not_applicable
from autocompress.trials.artefacts import REMEASURED, remeasured, trial_key
from autocompress.trials.bench import Bench
from autocompress.trials.job import StudyData
from autocompress.trials.prediction.rehearsal import rehearsed
from autocompress.trials.stages import Ascent, Model, apply, save_model


@dataclass(frozen=True)
class _Same:
    """A study, the same whatever has become known of it since."""

    data: StudyData

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self.data.id, self.data.artefacts


@dataclass(frozen=True)
class Work:
    """What a job works with: the study's bench, one recipe, and someone to tell about training steps."""

    bench: Bench
    recipe: Recipe
    number: int
    on_step: OnStep
    share: float = 1.0  # of the training
    repeat: int = 0  # of the seeds
    deadline: float = math.inf  # of its training, in seconds since 1970

    @property
    def key(self) -> str:
        """Under which what is made of the trial is kept."""
        return trial_key(self.number, self.repeat)


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
    computes_in: str = ""
    predicted: Measurement = field(default_factory=dict)


def bench_of(study: StudyData) -> Bench:
    """This process's bench of a study: another one that was made in its place has one of its own."""
    bench = loaded(_Same(study))
    bench.study = study
    return bench


@functools.lru_cache(maxsize=4)
def loaded(study: _Same) -> Bench:
    """What was loaded for one study is good for all of its jobs."""
    return Bench(study.data)


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
        reference_ms = workloads.references(bench.baseline, bench.runs, bench.target)
        sizes = bench.sizes(bench.teacher.model, bench.baseline_folder) | _archive(bench, bench.baseline_folder)
    measured = workloads.of_baseline(reference_ms) | sizes | {"score": score}
    measured |= _training_seconds(bench, bench.teacher_seconds)
    heap.give_back()
    fault_points.point("baseline")
    return Done(measured, clock.seconds, bench.notes, computes_in=bench.computes_in)


def applies(work: Work) -> Done:
    """Which methods of the space cannot act on the model, whatever their knobs."""
    clock = Stopwatch()
    with clock("applies"):
        left_out = not_applicable(work.bench)
    return Done({}, clock.seconds, left_out=left_out)


def rehearse(work: Work) -> Done:
    """The recipe with no training data: size and latency on the target, before anything is trained."""
    clock = Stopwatch()
    with clock("rehearse"):
        measured, predicted = rehearsed(work.bench, work.recipe)
    fault_points.point("rehearsed")
    return Done(measured, clock.seconds, predicted=predicted)


def train(work: Work) -> Done:
    """Train up to a share of the recipe's steps. What was trained before, by whomever, is not trained again."""
    clock = Stopwatch()
    work.bench.artefacts.sweep(work.key)
    ascent = Ascent(work.bench, work.recipe, work.key, work.on_step, work.share, work.repeat, work.deadline)
    with clock("train"):
        trained = ascent.train()
        record = ascent.record
        curve = "".join(json.dumps(point) + "\n" for point in record.curve)
        work.bench.artefacts.write(f"{work.key}/curve.jsonl", curve)
    measured = {"training_steps": float(len(record.curve))} | _training_seconds(work.bench, record.seconds)
    spent = record.rung_seconds | ({share_name(1.0): record.seconds} if trained else {})
    return Done(measured, clock.seconds, rungs=record.rungs, rung_seconds=spent, trained=trained)


def evaluate(work: Work) -> Done:
    """Do what follows the training, lower the module, and measure the artefact that would ship."""
    bench, artefacts, clock = work.bench, work.bench.artefacts, Stopwatch()
    heap.give_back()
    artefacts.sweep(work.key)
    with clock("train"):
        model = _finished(work)
    with clock("lower"):
        bench.runtime.support(model.plan, bench.target)
        artefacts.put(f"{work.key}/model", lambda draft: save_model(model, draft))
        lower = bench.runtime.lower
        artefacts.put(f"{work.key}/artefact", lambda draft: lower(model.module, model.plan, bench.example, draft))
        artefact = bench.made(f"{work.key}/artefact")
    fault_points.point("lowered")
    with clock("evaluate"):
        score = bench.scorer.validation(artefact, model.plan, None if work.repeat else work.number)
    with clock("measure"):
        measured = bench.shape(*model, artefact) | bench.sizes(model.module, artefact) | _archive(bench, artefact)
    fault_points.point("evaluated")
    return Done(workloads.in_milliseconds(measured, bench.reference_ms) | score, clock.seconds)


def remeasure(work: Work) -> Done:
    """The artefact's latency in a process of its own, which has loaded this artefact and the baseline's only. Once."""
    bench, clock = work.bench, Stopwatch()
    with clock("remeasure"):
        if not (known := remeasured(bench.artefacts, work.number)):
            artefact = bench.made(f"{work.key}/artefact")
            ratios = workloads.isolated_ratios(artefact, bench.baseline_folder, bench.runs, bench.target)
            known = workloads.in_milliseconds(ratios, bench.reference_ms)
            bench.artefacts.write(f"{work.key}/{REMEASURED}", json.dumps(known, indent=1))
    return Done(known, clock.seconds)


def judge(work: Work) -> Done:
    """Score the chosen artefact and the baseline on the untouched test split."""
    bench, clock = work.bench, Stopwatch()
    with clock("judge"):
        plan = PrecisionPlan.load(bench.made(f"{work.key}/model"))
        chosen = bench.scorer.test(bench.made(f"{work.key}/artefact"), plan)
        baseline = bench.scorer.test(bench.baseline_folder, PrecisionPlan())
    return Done({"test_score": chosen, "baseline_test_score": baseline}, clock.seconds)


def replay(work: Work) -> Done:
    """The first steps of a recipe as a model of its own: measured on an artefact that is thrown away."""
    bench, clock = work.bench, Stopwatch()
    with clock("train"):  # only what the cache has lost
        if not _ascent(work).train():
            return Done({}, clock.seconds, trained=False)
        model = _finished(work)
    bench.runtime.support(model.plan, bench.target)
    with bench.scratch() as artefact:
        with clock("lower"):
            bench.runtime.lower(model.module, model.plan, bench.example, artefact)
        with clock("evaluate"):
            score = bench.scorer.validation(artefact, model.plan)
        with clock("measure"):
            measured = bench.shape(*model, artefact) | bench.sizes(model.module, artefact)
    return Done(workloads.in_milliseconds(measured, bench.reference_ms) | score, clock.seconds)


def _ascent(work: Work) -> Ascent:
    """All of its training."""
    return Ascent(work.bench, work.recipe, work.key, work.on_step, repeat=work.repeat, deadline=work.deadline)


def _finished(work: Work) -> Model:
    """The trained module once what follows the training is done."""
    bench, trained = work.bench, work.recipe.trained
    module, plan = _ascent(work).model()
    ctx = bench.context(bench.seed_of(trained, work.repeat), plan)
    return Model(apply(bench, module, ctx, work.recipe, len(trained), work.repeat), ctx.precision)


def _archive(bench: Bench, artefact: Path) -> Measurement:
    """Only where a goal asks for it: it takes seconds, and says something where weights are zeros."""
    if not bench.space.goals.speak_of("archive_mb"):
        return {}
    return {"archive_mb": latency.archive_mb(bench.runtime.artefact(artefact))}


def _training_seconds(bench: Bench, seconds: float) -> Measurement:
    """Only where a goal asks for it: it is never the same twice."""
    return {"training_seconds": seconds} if bench.space.goals.speak_of("training_seconds") else {}
