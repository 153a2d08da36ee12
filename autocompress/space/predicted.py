"""Figures that are predicted: a quantity, and with `_low` and `_high` the ends of its interval."""

from __future__ import annotations

from autocompress.space.goals import QUANTITIES, Goals, Measurement


def end(figures: Measurement, *, best: bool) -> Measurement:
    """One end of every interval, as if it had been measured."""
    found = {}
    for name in [name for name in figures if name in QUANTITIES]:
        side = "low" if (QUANTITIES[name].better == "minimize") is best else "high"
        found[name] = figures.get(f"{name}_{side}", figures[name])
    return found


def middle(figures: Measurement) -> Measurement:
    """What is thought likeliest, as if it had been measured."""
    return {name: value for name, value in figures.items() if name in QUANTITIES}


def excesses(goals: Goals, figures: Measurement, baseline: Measurement) -> str:
    """The limits that are broken, with what was predicted."""
    broken = goals.violations(middle(figures), baseline)
    return "; ".join(
        f"{c.text}: predicted {told(figures, c.quantity)}, the limit is {c.limit(baseline):.4g}"
        for c in goals.constraints
        if broken.get(c.text, 0.0) > 0
    )


def told(figures: Measurement, name: str) -> str:
    """`14.1 to 16`, or what has no interval as it is."""
    low, high = (figures.get(f"{name}_{side}") for side in ("low", "high"))
    return f"{figures[name]:.4g}" if low is None or high is None else f"{low:.4g} to {high:.4g}"
