"""Trials as rows of text: for the terminal, for MLflow's description, for a model card."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from autocompress.engine.trial import Trial
from autocompress.space.goals import Measurement
from autocompress.trials.job import BASELINE

if TYPE_CHECKING:
    from autocompress.machine.eviction import Usage
    from autocompress.space.method import Method

Row = tuple[str, ...]
Knob = tuple[int, str]  # by the step's place in the recipe and its own name

DISTURBED = "others on this machine went on measuring or training while this latency was measured"

FRONT_COLUMNS: Row = ("trial", "recipe", "score", "latency ms", "speedup", "size MB", "smaller")


def front_rows(baseline: Trial, trials: Iterable[Trial]) -> list[Row]:
    """The baseline, then the trials from the best score down."""
    ranked = [baseline, *sorted(trials, key=lambda t: -t.measurement["score"])]
    return [_front_row(t, name, baseline.measurement) for t, name in zip(ranked, told_apart(ranked), strict=True)]


def _front_row(trial: Trial, name: str, baseline: Measurement) -> Row:
    m, first = trial.measurement, trial.number == BASELINE
    interval = "" if first else f" ({m['speedup_low']:.2f}-{m['speedup_high']:.2f})"
    return (
        "" if first else f"t{trial.number:03d}",
        "baseline" if first else name,
        f"{m['score']:.3f}", _latency(m), f"{m['speedup']:.2f}x{interval}", f"{m['size_mb']:.1f}",
        f"{baseline['size_mb'] / m['size_mb']:.2f}x",
    )  # fmt: skip


def step_name(method: Method, *, exact: bool = False) -> str:
    """`layers 0.5`, `student cnn`: its name, and how much it keeps or what it makes."""
    value = getattr(method, gist(method), None)
    if isinstance(value, float) and not exact:
        return f"{method.name} {value:.2g}"
    return method.name if value is None else f"{method.name} {value_text(value)}"


def gist(method: Method) -> str:
    """The knob that says most of it; nothing, where none does."""
    return next((knob for knob in ("keep", "model") if getattr(method, knob, None) is not None), "")


def value_text(value: object) -> str:
    """As a search space has it, figures to three places."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short(trial: Trial, more: Collection[Knob] = ()) -> str:
    """The recipe, with how much is kept: `layers 0.5 + soft_labels + finetune + int8_dynamic`.

    `more`: further knobs to show, each by its step and name: `finetune (lr: 0.003)`.
    """
    steps = []
    for place, method in enumerate(trial.recipe):
        text = step_name(method)
        told = [f"{name}: {value_text(value)}" for name, value in method if (place, name) in more]
        steps.append(f"{text} ({', '.join(told)})" if told else text)
    return " + ".join(steps) or "nothing"


def told_apart(trials: Sequence[Trial]) -> list[str]:
    """The recipes of a table's rows; those that would read alike with the knobs in which they differ."""
    names = [short(trial) for trial in trials]
    alike: dict[str, list[Trial]] = {}
    for trial, name in zip(trials, names, strict=True):
        alike.setdefault(name, []).append(trial)
    varied = {name: _varied(those) for name, those in alike.items()}
    return [short(t, varied[name]) if varied[name] else name for t, name in zip(trials, names, strict=True)]


def _varied(trials: list[Trial]) -> set[Knob]:
    """The knobs in which recipes of the same methods differ."""
    seen: dict[Knob, set[str]] = {}
    for trial in trials:
        for place, method in enumerate(trial.recipe):
            for name, value in method:
                seen.setdefault((place, name), set()).add(repr(value))
    return {knob for knob, values in seen.items() if len(values) > 1}


def markdown(columns: Row, rows: Iterable[Row]) -> str:
    """A table that renders on the web and reads as text."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _figure(measurement: Measurement, name: str, form: str) -> str:
    return format(measurement[name], form) if name in measurement else ""


def footnote(trials: Iterable[Trial]) -> str:
    """What a `~` before a latency says, if the table of these trials has one; else nothing."""
    return f"~ {DISTURBED}" if any(disturbed(trial.measurement) for trial in trials) else ""


def means_note(trials: Iterable[Trial]) -> str:
    """Whose scores in the table of these trials are means; nothing, if none is."""
    several = [f"t{t.number:03d}" for t in trials if "seeds" in t.measurement]
    return f"Means over several seeds: the scores of {', '.join(several)}." if several else ""


def disturbed(measurement: Measurement) -> bool:
    """Whether its latency was not measured in quiet."""
    return measurement.get("latency_quiet") == 0.0


def _latency(measurement: Measurement) -> str:
    return ("~" if disturbed(measurement) else "") + _figure(measurement, "latency_ms", ".2f")


CHECK_COLUMNS: Row = ("quantity", "stored", "now", "difference", "verdict")


def check_row(quantity: str, stored: float, now: float | None, verdict: str) -> Row:
    """A figure that was measured again; `now` is None where it could not be."""
    again = ("", "") if now is None else (f"{now:.4g}", f"{now - stored:+.4g}")
    return (quantity, f"{stored:.4g}", *again, verdict)


USAGE_COLUMNS: Row = ("kind", "entries", "size", "oldest use", "last use")


def usage_rows(rows: Iterable[Usage]) -> list[Row]:
    """What the cache holds, a row a kind."""
    return [
        (row.kind, f"{row.entries:,}", bytes_text(row.bytes), _moment(row.oldest_use), _moment(row.newest_use))
        for row in rows
    ]


def bytes_text(count: int) -> str:
    """`1.3 GB`, in units of 1000."""
    size, units = float(count), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 999.5 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.3g} {unit}"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
