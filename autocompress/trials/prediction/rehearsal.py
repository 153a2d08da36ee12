"""A recipe without its training: what it measures on the target, or what is predicted where that leaves no doubt.

What was measured is remembered twice: by the recipe without its training knobs (nothing is built at all), and by the
shapes it leads to (no artefact is made).
"""

from __future__ import annotations

import copy

from autocompress.machine import cache
from autocompress.runtimes import workloads
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.bench import Bench
from autocompress.trials.prediction.foresight import Foresight
from autocompress.trials.stages import apply


class _Undoubted(Exception):
    """What is predicted is enough: nothing was measured, and nothing is to be remembered as if it were."""

    def __init__(self, foresight: Foresight) -> None:
        self.foresight = foresight


def rehearsed(bench: Bench, recipe: Recipe) -> tuple[Measurement, Measurement]:
    """What is measured of the recipe and what is predicted: one of them is empty.

    Raises `NotApplicable` where a step cannot act, or the target cannot carry out what comes of it.
    """
    try:
        known = cache.value("rehearsals", bench.rehearsal_key(recipe), lambda: _by_shape(bench, recipe))
    except _Undoubted as e:
        return {}, e.foresight.figures
    return workloads.in_milliseconds(known, bench.reference_ms), {}


def _by_shape(bench: Bench, recipe: Recipe) -> Measurement:
    """What the shapes of a recipe measure. Raises `_Undoubted` where it breaks a limit for sure, or keeps all."""
    foresight = bench.foresee(recipe)
    verdict = foresight.verdict(bench.space.goals, bench.baseline_figures) if foresight else "doubt"
    if foresight and verdict == "broken":
        raise _Undoubted(foresight)
    ctx = bench.context(seed=0, rehearsal=True)
    model = apply(bench, copy.deepcopy(bench.start), ctx, recipe)
    bench.runtime.support(ctx.precision, bench.target)
    if foresight and verdict == "kept" and not bench.knows_shape(model, ctx.precision):
        raise _Undoubted(foresight)
    return bench.shape(model, ctx.precision)
