"""Two trials side by side: the knobs in which they differ, and every measured quantity with its interval."""

from __future__ import annotations

from autocompress.engine.trial import Trial
from autocompress.report.tables import value_text
from autocompress.report.terminal.sheet import Column, Sheet
from autocompress.report.terminal.trial_sheets import interval
from autocompress.space.goals import QUANTITIES, Measurement
from autocompress.trials.job import BASELINE

Gain = tuple[float, float]  # by how much the second scores better on the same texts, and the standard error of that

_BETTER, _WORSE, _OTHER = "green", "red", "yellow"


def comparison(a: Trial, b: Trial, gain: Gain | None = None) -> Sheet:
    """Green: the second is better, red: it is worse, both beyond noise; yellow: a knob that differs."""
    names = [_name(trial) for trial in (a, b)]
    columns = (Column(""), Column(names[0]), Column(names[1]), Column(f"{names[1]} to {names[0]}"))
    rows: list[tuple[str, ...]] = [("result", *(_result(trial) for trial in (a, b)), "")]
    styles = [""]
    for knob in _differing(a, b):
        rows.append((*knob, ""))
        styles.append(_OTHER)
    for name in _quantities(a.measurement, b.measurement):
        pair = [_told(trial.measurement, name) for trial in (a, b)]
        change, style = _change(a, b, name, gain)
        rows.append((name, *pair, change))
        styles.append(style)
    return Sheet(columns, rows, styles)


def _name(trial: Trial) -> str:
    return "baseline" if trial.number == BASELINE else f"t{trial.number:03d}"


def _result(trial: Trial) -> str:
    if trial.number == BASELINE:
        return ""
    return "on the front" if trial.front else "feasible" if trial.feasible else trial.reason or trial.state


def _differing(a: Trial, b: Trial) -> list[tuple[str, str, str]]:
    """`finetune.lr`, and what each has there; of a step that only one has, all of its knobs in one row."""
    steps = [_steps(trial) for trial in (a, b)]
    found: list[tuple[str, str, str]] = []
    for name in dict.fromkeys([*steps[0], *steps[1]]):
        if name in steps[0] and name in steps[1]:
            mine, theirs = (step[name] for step in steps)
            found += [(f"{name}.{knob}", mine.get(knob, ""), theirs.get(knob, ""))
                      for knob in dict.fromkeys([*mine, *theirs]) if mine.get(knob) != theirs.get(knob)]  # fmt: skip
        else:
            one, other = (_knobs(step[name]) if name in step else "no" for step in steps)
            found.append((name, one, other))
    return found


def _steps(trial: Trial) -> dict[str, dict[str, str]]:
    """By the step's name; the second of a name is called `finetune-2`."""
    found: dict[str, dict[str, str]] = {}
    for method in trial.recipe:
        times = 1 + sum(name.partition("-")[0] == method.name for name in found)
        name = method.name if times == 1 else f"{method.name}-{times}"
        found[name] = {knob: value_text(value) for knob, value in method}
    return found


def _knobs(values: dict[str, str]) -> str:
    return " ".join(f"{knob}={value}" for knob, value in values.items()) or "yes"


def _quantities(*measured: Measurement) -> list[str]:
    """What goals may speak of first; without the ends of intervals, which stand beside what they are the ends of."""
    names = dict.fromkeys(name for measurement in measured for name in measurement)
    ends = {f"{name}_{end}" for name in names for end in ("low", "high")}
    known = [name for name in QUANTITIES if name in names]
    return [*known, *(name for name in names if name not in ends and name not in QUANTITIES)]


def _told(measurement: Measurement, name: str) -> str:
    if name not in measurement:
        return ""
    form = ".3f" if name == "score" else ".4g"
    return format(measurement[name], form) + interval(measurement, name, form)


def _change(a: Trial, b: Trial, name: str, gain: Gain | None) -> tuple[str, str]:
    """What the second is to the first, and the style that says whether that is good."""
    one, other = (trial.measurement.get(name) for trial in (a, b))
    if one is None or other is None:
        return "", ""
    if name == "score":
        return _gained(a, b, gain)
    told = "" if one <= 0 else f"{other / one:.3g}x"
    if name not in QUANTITIES or one <= 0 or _overlap(a.measurement, b.measurement, name):
        return told, ""
    return told, _BETTER if (other > one) == (QUANTITIES[name].better == "maximize") else _WORSE


def _gained(a: Trial, b: Trial, gain: Gain | None) -> tuple[str, str]:
    """A difference of scores with its interval: beside a baseline that of the trial, else by the texts of both."""
    difference = b.measurement["score"] - a.measurement["score"]
    if gain is not None:
        low, high = gain[0] - 1.96 * gain[1], gain[0] + 1.96 * gain[1]
    elif a.number == BASELINE and "score_low" in b.measurement:
        low, high = (b.measurement[f"score_{end}"] - a.measurement["score"] for end in ("low", "high"))
    else:
        return f"{difference:+.3f}", ""
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})", _BETTER if low > 0 else _WORSE if high < 0 else ""


def _overlap(one: Measurement, other: Measurement, name: str) -> bool:
    """Whether the two cannot be told apart: by their intervals, or by what is noise in such figures."""
    half = QUANTITIES[name].noise / 2
    (low, high), (bottom, top) = (
        (m.get(f"{name}_low", m[name] * (1 - half)), m.get(f"{name}_high", m[name] * (1 + half))) for m in (one, other)
    )
    return low <= top and bottom <= high
