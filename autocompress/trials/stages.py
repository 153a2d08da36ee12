"""What training leaves, stage by stage: a stage ends with a method that trains, and is trained once.

The stages of a recipe are in the cache, under a key of everything that they depend on, so recipes and studies that
begin alike share them. A training under way is put aside (see `put_aside`) under its trial's key: at its rungs, every
few minutes, and where the search has to end. To go on, the stage is built anew up to the training, which is quick, and
the training takes up its tensors from there.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from autocompress.errors import Diverged
from autocompress.machine import cache, fault_points
from autocompress.methods.context import Context, Course, Interruptible, OnStep
from autocompress.models import storage
from autocompress.models.forward import CPU, placed
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.space import keys
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.trials.bench import Bench
from autocompress.trials.put_aside import Aside, PutAside, Resumable


class Model(NamedTuple):
    """A module and the precisions that are planned for it."""

    module: nn.Module
    plan: PrecisionPlan


@dataclass
class Record:
    """What a training tells of itself; it is kept with what it leaves."""

    seconds: float = 0.0  # of steps alone
    recipe: str = ""  # whose rungs they are: of the steps that another recipe has yet to come they say nothing
    rungs: dict[str, float] = field(default_factory=dict)
    rung_seconds: dict[str, float] = field(default_factory=dict)  # of steps alone, up to each rung
    curve: list[dict[str, float]] = field(default_factory=list)  # a step and its loss each


class Ascent(Course):
    """The training of one recipe, up to a share of its steps."""

    def __init__(
        self, bench: Bench, recipe: Recipe, key: str, on_step: OnStep, share: float = 1.0, repeat: int = 0,
        deadline: float = math.inf,
    ) -> None:  # fmt: skip
        """`key`: the trial's, under which the training is put aside. `deadline`: when, in seconds since 1970."""
        super().__init__(on_step)
        self._bench, self._recipe, self._aside = bench, recipe.trained, Aside(bench.artefacts, f"{key}/aside", deadline)
        self._share, self._repeat = share, repeat
        self._rungs_key = keys.rungs(self._recipe, bench.space.task.metric)
        self.record = Record(recipe=self._rungs_key)

    def train(self) -> bool:
        """Whether nothing is left to train. If not, the training was put aside at the share or the deadline."""
        try:
            self.model()
        except PutAside:
            return False
        fault_points.point("trained")
        self._aside.forget()
        return True

    def model(self) -> Model:
        """The trained recipe, which may be the start itself; what is not in the cache is trained."""
        return self._stage(self._recipe)

    def _stage(self, stage: Recipe) -> Model:
        if not stage:
            return Model(copy.deepcopy(self._bench.start), PrecisionPlan())
        key = self._bench.prefix_key(stage, self._repeat)
        place = cache.folder("trained", key, lambda draft: self._build(stage, key, draft))
        self.record = self._own(Record(**json.loads((place / "record.json").read_text())))
        return open_model(place)

    def _own(self, record: Record) -> Record:
        """What a stage tells that was trained for another recipe, without the rungs of that."""
        if record.recipe == self._rungs_key:
            return record
        return replace(record, recipe=self._rungs_key, rungs={}, rung_seconds={})

    def _build(self, stage: Recipe, key: str, folder: Path) -> None:
        before = stage.stages[-2] if len(stage.stages) > 1 else Recipe()
        model, plan = self._stage(before)
        seed = self._bench.seed_of(stage, self._repeat)
        self._ctx = self._bench.context(seed, plan, self)
        self._key, self._later = key, Recipe(self._recipe[len(stage) :])
        self._before, self._steps = self._steps_of(before), self._steps_of(self._recipe)
        try:
            model = apply(self._bench, model, self._ctx, stage, len(before), self._repeat)
        except Diverged as e:
            e.stage = stage.key
            raise
        save_model(Model(model, self._ctx.precision), folder)
        (folder / "record.json").write_text(json.dumps(asdict(self.record)))

    def _steps_of(self, recipe: Recipe) -> int:
        return recipe.training_steps(len(self._bench.task.train))

    def begins(self, training: Interruptible) -> None:
        """Go on where this stage was put aside."""
        if known := self._aside.restore(training, self._key):
            self.record = Record(**known)
            if share_name(self._share) in self.record.rungs:
                raise PutAside
        self._last = time.perf_counter()

    def stepped(self, training: Interruptible, loss: float) -> None:
        """Put the training aside once it is due, scored as if it ended here."""
        self.record.seconds += time.perf_counter() - self._last
        done = self._before + training.step
        self.record.curve.append({"step": done, "loss": loss})
        self._aside.step(
            training, self._key, lambda: self.on_step(done, self._steps, loss), lambda: asdict(self.record)
        )
        due = math.ceil(self._share * self._steps)
        if due <= done < self._steps:
            if due == done and self._settled(training):  # if it is past that, in a stage of others, it has no score
                name = share_name(self._share)
                self.record.rungs[name] = self._score(training.model)
                self.record.rung_seconds[name] = self.record.seconds
            self._aside.put(training, self._key, asdict(self.record))
            raise PutAside
        self._last = time.perf_counter()

    def beside(self, key: str) -> Course:
        """One that is put aside in the same place, and tells of its steps as if the recipe's own stood still."""
        tell = lambda step, steps, loss: self.on_step(self._before, self._steps, loss)  # noqa: E731
        return Resumable(tell, self._aside, f"beside-{key}")

    def _settled(self, training: Interruptible) -> bool:
        """Whether what every schedule makes of the model by now tells what it will be in the end."""
        return all(schedule.settled_at * training.steps <= training.step for schedule in self._ctx.schedules)

    def _score(self, model: nn.Module) -> float:
        """Of a copy that goes through what is left of the recipe without training. The random state is left alone."""
        # copied together: a schedule's model and plan are those of the copy
        copied, schedules, plan = copy.deepcopy((model, self._ctx.schedules, self._ctx.precision))
        gpus = [device for device in (self._ctx.device,) if device.type == "cuda"]
        with torch.random.fork_rng(devices=gpus), placed(nn.ModuleList([copied, *schedules]), CPU):
            for schedule in schedules:
                schedule.settle(copied)
            ctx = self._bench.context(self._ctx.seed, plan, rehearsal=True)
            copied.eval()
            for method in self._later:
                copied = method.apply(copied, ctx)
            return self._bench.scorer.rung(copied)


def apply(bench: Bench, model: nn.Module, ctx: Context, recipe: Recipe, begin: int = 0, repeat: int = 0) -> nn.Module:
    """The methods of `recipe` from number `begin` on, in order."""
    torch.manual_seed(ctx.seed)
    for i in range(begin, len(recipe)):
        if ctx.train is not None:
            ctx.prefix = bench.prefix_key(Recipe(recipe[:i]), repeat)
        model = recipe[i].apply(model, ctx)
    return model.eval()


def save_model(model: Model, folder: Path) -> None:
    storage.save(model.module, folder)
    model.plan.save(folder)


def open_model(folder: Path) -> Model:
    """The inverse of `save_model`, in eval mode."""
    return Model(storage.load(folder), PrecisionPlan.load(folder))
