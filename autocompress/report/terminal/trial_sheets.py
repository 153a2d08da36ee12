"""Trials as tables: all of them, those that were refused, and the front at the end of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError, nearest
from autocompress.report.tables import disturbed, footnote, means_note
from autocompress.report.terminal.sheet import Cell, Column, Sheet
from autocompress.report.terminal.short_recipes import short_recipes
from autocompress.space.goals import QUANTITIES, Measurement
from autocompress.trials.job import BASELINE

_TRIALS = (
    Column("trial"), Column("recipe"), Column("score", figures=True), Column("latency ms", figures=True),
    Column("speedup", figures=True, goes=3), Column("size MB", figures=True), Column("result", whole=True),
    Column("seconds", figures=True, goes=2), Column("trained as", whole=True, goes=1),
)  # fmt: skip
_TOKEN = Column("ms a token", figures=True, goes=4)  # of models that continue texts: behind the latency
_REFUSED = (Column("trial"), Column("recipe"), Column("reason"))
_FRONT = (
    Column("trial", whole=True), Column("recipe"), Column("score", figures=True),
    Column("of the baseline's", figures=True, goes=3), Column("latency ms", figures=True, goes=2),
    Column("speedup", figures=True), Column("size MB", figures=True, goes=1), Column("smaller", figures=True),
)  # fmt: skip
_STYLES = {"front": "green", "refused": "dim", "duplicate": "dim", "failed": "red", "stopped": "dim"}


def trial_sheet(trials: Iterable[Trial]) -> Sheet:
    """One line a trial: figures, and whether it is on the front, feasible, over a limit, stopped or failed."""
    shown = list(trials)
    names, note = _named(shown)
    rows = [_trial_row(trial, name) for trial, name in zip(shown, names, strict=True)]
    styles = [_STYLES.get("front" if t.front else t.state, "") for t in shown]
    return _with_tokens(Sheet(_TRIALS, rows, styles, [line for line in (note, footnote(shown)) if line]), shown)


def refused_sheet(trials: Iterable[Trial]) -> Sheet:
    """What was not trained, and why."""
    shown = list(trials)
    names, note = _named(shown)
    rows = [(_name(t), name, t.reason) for t, name in zip(shown, names, strict=True)]
    return Sheet(_REFUSED, rows, notes=[note] if note else [])


def front_sheet(baseline: Trial, front: Iterable[Trial], chosen: Trial, rule: str) -> Sheet:
    """The baseline, then the front from the best score down; what the rule chose is marked by a star.

    `front`: each with the best figures that are known of it.
    """
    ranked = [baseline, *sorted(front, key=lambda t: -t.measurement["score"])]
    names, note = _named(ranked)
    rows = [_front_row(t, name, baseline.measurement, t.number == chosen.number)
            for t, name in zip(ranked, names, strict=True)]  # fmt: skip
    styles = ["bold green" if t.number == chosen.number else "" for t in ranked]
    notes = [
        f"* chosen by {rule}. In brackets: 95 % intervals.", note,
        means_note(ranked), footnote(ranked),
    ]  # fmt: skip
    return _with_tokens(Sheet(_FRONT, rows, styles, [line for line in notes if line]), ranked)


def ordered(trials: Sequence[Trial], column: str) -> list[Trial]:
    """By a column, the best first; what has no figure there comes last. Raises `ConfigError` for another column."""
    name = column.strip().lower().replace(" ", "_")
    keys: dict[str, Callable[[Trial], Any]] = {
        "trial": lambda t: t.number, "recipe": lambda t: t.recipe.title, "result": result,
        "seconds": lambda t: sum(t.seconds.values()),
    }  # fmt: skip
    if name not in (*keys, *QUANTITIES):
        raise ConfigError(
            f"--sort: there is no column {column!r}. {nearest(name, [*keys, *QUANTITIES], otherwise='Columns')}"
        )
    if name in keys:
        return sorted(trials, key=keys[name])
    sign = -1 if QUANTITIES[name].better == "maximize" else 1
    return sorted(trials, key=lambda t: sign * t.measurement[name] if name in t.measurement else math.inf)


def result(trial: Trial) -> str:
    """In a word or two: what the reason says in a sentence."""
    if trial.front:
        return "front"
    if trial.state == "complete":
        over = [limit.split()[0] for limit, violation in trial.violations.items() if violation > 0]
        return "feasible" if not over else f"over {over[0]}" + (f" +{len(over) - 1}" if over[1:] else "")
    if trial.state == "stopped" and trial.rungs:
        return f"stopped at {max(map(float, trial.rungs)):.0%}"
    return trial.state


def _with_tokens(sheet: Sheet, trials: Sequence[Trial]) -> Sheet:
    """With what a further token takes, where that is measured."""
    tokens = [_figure(t.measurement, "token_latency_ms", ".2f") for t in trials]
    if not any(tokens):
        return sheet
    at = [column.name for column in sheet.columns].index("latency ms") + 1
    rows = [(*row[:at], token, *row[at:]) for row, token in zip(sheet.rows, tokens, strict=True)]
    return replace(sheet, columns=(*sheet.columns[:at], _TOKEN, *sheet.columns[at:]), rows=rows)


def _named(trials: Sequence[Trial]) -> tuple[list[Cell], str]:
    """The short recipes of a table's rows, and a sentence on what they leave out."""
    own = [t for t in trials if t.number != BASELINE]
    parts, shared = short_recipes([t.recipe for t in own])
    short = iter(parts)
    names: list[Cell] = ["" if t.number == BASELINE else next(short) for t in trials]
    return names, f"Every recipe has also: {shared}." if shared else ""


def _name(trial: Trial) -> str:
    return "baseline" if trial.number == BASELINE else f"t{trial.number:03d}"


def _trial_row(trial: Trial, recipe: Cell) -> tuple[Cell, ...]:
    m = trial.measurement
    return (
        _name(trial), recipe, _figure(m, "score", ".3f"), _latency(m), _figure(m, "speedup", ".2f"),
        _figure(m, "size_mb", ".1f"), "" if trial.number == BASELINE else result(trial),
        f"{sum(trial.seconds.values()):.0f}", "" if trial.variant_of is None else f"t{trial.variant_of:03d}",
    )  # fmt: skip


def _front_row(trial: Trial, recipe: Cell, baseline: Measurement, chosen: bool) -> tuple[Cell, ...]:
    m, first = trial.measurement, trial.number == BASELINE
    speedup = "1.00x" if first else f"{m['speedup']:.2f}x" + interval(m, "speedup", ".2f")
    return (
        _name(trial) + (" *" if chosen else ""), recipe, f"{m['score']:.3f}", "" if first else _share(m, baseline),
        _latency(m), speedup, f"{m['size_mb']:.1f}",
        f"{baseline['size_mb'] / m['size_mb']:.2f}x",
    )  # fmt: skip


def _share(measurement: Measurement, baseline: Measurement) -> str:
    """The score as a share of the baseline's, which a score of 0 or less has none of."""
    if baseline["score"] <= 0:
        return ""
    scores = {name: 100 * value / baseline["score"] for name, value in measurement.items() if name.startswith("score")}
    return f"{scores['score']:.0f}%" + interval(scores, "score", ".0f")


def interval(measurement: Measurement, name: str, form: str) -> str:
    """` (3.03-3.14)`; nothing where none is known, or none is seen. Below 0 it has `to` in it."""
    ends = [measurement.get(f"{name}_{end}") for end in ("low", "high")]
    if None in ends:
        return ""
    low, high = (format(end, form) for end in ends)
    if low == high:
        return ""
    return f" ({low} to {high})" if low.startswith("-") else f" ({low}-{high})"


def _figure(measurement: Measurement, name: str, form: str) -> str:
    return format(measurement[name], form) if name in measurement else ""


def _latency(measurement: Measurement) -> str:
    return ("~" if disturbed(measurement) else "") + _figure(measurement, "latency_ms", ".2f")
