"""The main figures as PNGs, by matplotlib: for a README, a slide, or MLflow's pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.engine.trial import Trial
from autocompress.report.figures.front import far
from autocompress.report.figures.style import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, RED, SKY
from autocompress.report.findings import course, steps, worth
from autocompress.report.findings.gather import Findings
from autocompress.report.findings.quantities import called, label
from autocompress.report.findings.quantities import figure as told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 10  # knobs


def write(findings: Findings, folder: Path) -> None:
    """A PNG for each of the figures that there is something to draw for."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn: dict[str, Callable[[Findings, Figure], bool]] = {
        "front": _front, "progress": _progress, "importance": _importance, "attribution": _attribution
    }  # fmt: skip
    with rc_context({"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False}):
        for name, draw in drawn.items():
            figure = Figure(figsize=(7.5, 4.6), layout="constrained")
            if draw(findings, figure):
                figure.savefig(folder / f"{name}.png", dpi=150)


def _front(findings: Findings, figure: Figure) -> bool:
    axes, measured = figure.add_subplot(), findings.measured
    chosen = [findings.latest(findings.winner)] if findings.winner else []
    groups: dict[str, tuple[list[Trial], dict[str, Any]]] = {
        "over a limit": ([t for t in measured if not t.feasible], {"c": GREY, "marker": "x", "alpha": 0.6}),
        "feasible": ([t for t in measured if t.feasible and not t.front], {"c": SKY}),
        "front": (findings.front, {"c": BLUE}),
        "baseline": ([findings.baseline], {"c": BLACK, "marker": "D"}),
        "chosen": (chosen, {"c": ORANGE, "marker": "*", "edgecolors": BLACK}),
    }  # fmt: skip
    largest = max(t.measurement["size_mb"] for t in [findings.baseline, *measured])
    for name, (trials, style) in groups.items():
        if trials:
            m = [t.measurement for t in trials]
            areas = [max(170.0 if name == "chosen" else 18.0, 160 * x["size_mb"] / largest) for x in m]
            axes.scatter([x["latency_ms"] for x in m], [x["score"] for x in m], s=areas, label=name, **style)
    for limit in findings.goals.constraints:
        lines = {"latency_ms": axes.axvline, "score": axes.axhline}
        if limit.quantity in lines:
            lines[limit.quantity](limit.limit(findings.baseline.measurement), color=RED, ls="--", lw=1)
    axes.set(xlabel=label("latency_ms"), ylabel=label("score", findings.metric))
    edge, word = far(findings, measured, "latency_ms")
    axes.set_xlim(0, edge if word else None)
    axes.text(0.99, 0.01, word, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=BLACK)
    for handle in axes.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0)).legend_handles:
        handle.set_sizes([45.0])  # type: ignore[union-attr]
    return True


def _progress(findings: Findings, figure: Figure) -> bool:
    points, best = findings.progress, course.best_scores(findings)
    if not points:
        return False
    upper, lower = figure.subplots(2, sharex=True)
    upper.step([p.trials for p in points], [p.hypervolume for p in points], where="post", color=BLUE)
    lower.step([b.trials for b in best], [b.score for b in best], where="post", color=GREEN, marker="o", ms=4)
    upper.set(ylabel="hypervolume")
    lower.set(ylabel="best feasible score", xlabel="trained trials")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return True


def _importance(findings: Findings, figure: Figure) -> bool:
    if not any((found := findings.importances).values()):
        return False
    axes, names = figure.add_subplot(), worth.ranked(found)[:_MOST][::-1]
    height = 0.8 / len(found)
    for i, ((objective, shares), colour) in enumerate(zip(found.items(), COLOURS, strict=False)):
        places = [y + 0.4 - height * (i + 0.5) for y in range(len(names))]
        axes.barh(places, [shares.get(n, 0.0) for n in names], height, color=colour, label=called(objective))
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set(xlabel="share of what decides who is among the best")
    axes.legend(frameon=False, loc="lower right")
    return True


def _attribution(findings: Findings, figure: Figure) -> bool:
    walked = [step for step in steps.walked(findings) if step.measurement]
    if len(walked) < 2:
        return False
    quantities = [name for name in steps.QUANTITIES if all(name in s.measurement for s in walked)]
    names = ["\n".join(step.names) for step in walked]
    for axes, quantity, colour in zip(figure.subplots(len(quantities), sharex=True), quantities, COLOURS, strict=False):
        values = [step.measurement[quantity] for step in walked]
        axes.plot(names, values, color=GREY, lw=1, marker="o", mfc=colour, mec=colour, ms=7)
        for name, value in zip(names, values, strict=True):
            axes.annotate(told(quantity, value), (name, value), (0, 7), textcoords="offset points", ha="center")
        axes.margins(x=0.1, y=0.35)
        axes.set(ylabel=label(quantity))
    return True
