"""A bench before there is a study: its teacher has learnt nothing yet.

Sizes, latencies and the time of a step depend on shapes and not on what weights hold, so they can be had before any
training. What is measured here is remembered as any rehearsal is: the search does not measure it again.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch

from autocompress.machine.exclusive import quiet
from autocompress.methods.context import Course, Interruptible, Teacher
from autocompress.models import loading
from autocompress.runtimes import workloads
from autocompress.space.goals import Measurement
from autocompress.space.method import Method
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.space.stored_space import plain
from autocompress.trials.bench import Bench
from autocompress.trials.job import StudyData
from autocompress.trials.stages import apply

_WARM, _TIMED = 2, 8  # steps
_LONG = 10.0  # seconds after which one timed step is enough


class Untaught(Bench):
    """Where recipes can be rehearsed, and steps be timed."""

    @cached_property
    def teacher(self) -> Teacher:
        torch.manual_seed(self.space.search.seed)
        source, labels, head = self.teacher_source, self.task.labels, self.task.kind.head
        model = loading.load_model(source, labels, head)
        return Teacher(lambda: model)

    def measure_baseline(self) -> Measurement:
        """Its latency and sizes on the target, which everything rehearsed here is related to."""
        self.check_target()
        self.lower_baseline()
        references = workloads.references(self.baseline, self.runs, self.target)
        self.study = replace(
            self.study, reference_ms=references[""], more_reference_ms={n: ms for n, ms in references.items() if n}
        )
        return workloads.of_baseline(references) | self.sizes(self.teacher.model, self.baseline_folder)

    def step_seconds(self, training: Method, before: Recipe) -> float:
        """What a step of a training takes on this task's texts, in seconds, with what `before` leaves for it."""
        rows = len(self.task.train)
        wanted = min(rows, (_WARM + _TIMED) * 64)
        texts = self.task.train.of([i * rows // wanted for i in range(wanted)])
        course = _Few()
        ctx = self.context(self.space.search.seed, course=course)
        ctx.train = texts
        model = loading.load_model(self.teacher_source, self.task.labels, self.task.kind.head)
        try:
            with quiet():
                apply(self, model, ctx, Recipe([*before, training]))
        except _EnoughSteps:
            pass
        return statistics.median(course.seconds[_WARM:] or course.seconds)


class _EnoughSteps(Exception):
    pass


class _Few(Course):
    """Ends a training after some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._last = 0.0

    def begins(self, training: Interruptible) -> None:
        self._last = time.perf_counter()

    def stepped(self, training: Interruptible, loss: float) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
        late = len(self.seconds) > _WARM and sum(self.seconds) > _LONG
        if late or len(self.seconds) == _WARM + _TIMED:
            raise _EnoughSteps


@contextmanager
def untaught(space: SearchSpace) -> Iterator[Untaught]:
    """For as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
        yield Untaught(StudyData(space=plain(space), root=str(space.root.resolve()), artefacts=folder))


def peak_gb() -> float:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
