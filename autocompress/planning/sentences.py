"""An estimate in sentences: what the search will take, and what cannot work as it is written."""

from __future__ import annotations

import math
from collections.abc import Iterator

from autocompress.planning.estimate import Estimate
from autocompress.space.search_space import SearchSpace

_FEW = 0.1  # a share of recipes: where fewer can meet the limits, most of what is proposed is refused


def sentences(found: Estimate, space: SearchSpace) -> Iterator[str]:
    """What a person should know, warnings last."""
    texts, baseline = found.texts, found.baseline
    size = "endlessly many recipes" if found.recipes is None else f"{found.recipes:,} recipes"
    yield (
        f"{space.model} has {baseline['parameters'] / 1e6:.3g} M parameters, {baseline['size_mb']:.3g} MB on "
        f"{space.target.runs_in}, and takes {baseline['latency_ms']:.3g} ms for {space.target.batch_size} x "
        f"{space.target.sequence_length} tokens here. The task has {texts['train']:,} training, "
        f"{texts['validation']:,} validation and {texts['test']:,} test texts; the space has {size}."
    )
    least, most = found.search_seconds
    yield (
        f"{found.trials} trials by one worker take about {_span(least, most)}: {_teacher(found)}"
        f"{duration(found.trial_seconds)} a trial, {duration(found.confirm_seconds)} for confirmation. "
        f"A training step takes {1000 * found.step_seconds:.0f} ms on the whole model."
    )
    yield (
        f"Each worker holds about {found.memory_gb:.2g} GB of memory, of which {found.memory_free_gb:.2g} GB are free; "
        f"files take up to {found.disk_gb:.2g} GB, of which {found.disk_free_gb:.3g} GB are free."
    )
    if found.rehearsed:
        yield (
            f"{found.feasible} of {found.rehearsed} recipes that were rehearsed meet every limit that is known before "
            "training. They are remembered: the search does not measure them again."
        )
    yield from warnings(found, space)


def warnings(found: Estimate, space: SearchSpace) -> Iterator[str]:
    """What will not work, or not well."""
    for at, reason in found.left_out.items():
        name = at.rpartition(".")[2].partition("#")[0]
        yield f"Warning: {name} cannot act on this model, whatever its knobs: {reason}. The search leaves it out."
    if found.feasible < max(_FEW * found.rehearsed, 1):
        yield from _refusals(found)
    if found.recipes is not None and found.recipes < space.search.trials:
        yield f"Warning: {space.search.trials} trials are asked for, and the space has {found.recipes} recipes only."
    if found.disk_gb > found.disk_free_gb:
        yield "Warning: the disk may be full before the search ends. It would pause, and go on once there is room."
    if found.memory_free_gb < found.memory_gb / 2:
        yield "Warning: there is hardly memory for one worker: close other programs, or take a smaller batch_size."
    yield from _noise(found, space)


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _refusals(found: Estimate) -> Iterator[str]:
    many = f"Only {found.feasible}" if found.feasible else "None"
    reasons = "; ".join(
        f"{count} break {text} (the best has {found.nearest[text]:.3g})"
        if text in found.nearest
        else f"{count}: {text}"
        for text, count in list(found.refused.items())[:4]
    )
    yield (
        f"Warning: {many} of {found.rehearsed} recipes can meet the limits: {reasons}. "
        "Loosen these limits, or offer stronger methods in `steps`."
    )


def _noise(found: Estimate, space: SearchSpace) -> Iterator[str]:
    """A limit on the score that is finer than what so few texts can tell."""
    known = 1 / math.sqrt(found.texts["validation"])  # 95 % of a share of one half
    for limit in space.goals.constraints:
        if limit.relative and limit.quantity == "score" and 0 < 1 - limit.bound < known / 2:
            yield (
                f"Warning: with {found.texts['validation']} validation texts a score is known to about ±{known:.2f}, "
                f"and {limit.text!r} asks for less. Give more validation texts, or a looser limit."
            )


def _teacher(found: Estimate) -> str:
    least, most = found.teacher_seconds
    return f"{_span(least, most)} for the teacher, " if most else ""


def _span(least: float, most: float) -> str:
    low, high = duration(least), duration(most)
    return low if low == high else f"{low} to {high}"
