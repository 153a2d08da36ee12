"""Two quantities against each other: what was tried, what is feasible, the front, the limits, the baseline, the one
that was chosen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from autocompress.engine.trial import Trial
from autocompress.report.figures.style import BLACK, BLUE, GREY, ORANGE, RED, SKY, styled
from autocompress.report.findings.gather import Findings
from autocompress.report.findings.quantities import label
from autocompress.space.goals import QUANTITIES

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SMALLEST, _LARGEST = 7.0, 26.0  # pixels across


def front(
    findings: Findings, x: str = "latency_ms", y: str = "score", size: str | None = "size_mb", height: int = 520
) -> Figure:
    """`x`, `y`: two measured quantities. `size`: a third one, which a marker's area shows; None: all are alike."""
    from plotly.graph_objects import Figure, Scatter

    figure, shown = Figure(), [findings.latest(t) for t in findings.measured]
    shown = [t for t in shown if x in t.measurement and y in t.measurement]
    groups: dict[str, tuple[list[Trial], dict[str, Any]]] = {
        "over a limit": ([t for t in shown if not t.feasible], {"color": GREY, "opacity": 0.45, "symbol": "x-thin",
                         "line": {"color": GREY, "width": 1.5}}),
        "feasible": ([t for t in shown if t.feasible and not t.front], {"color": SKY, "opacity": 0.75}),
        "front": ([t for t in shown if t.front], {"color": BLUE, "opacity": 1}),
    }  # fmt: skip
    sizes = _sizes(findings, shown, size)
    if steps := _staircase(groups["front"][0], x, y):
        figure.add_trace(Scatter(
            x=[p[0] for p in steps], y=[p[1] for p in steps], mode="lines", line={"color": BLUE, "width": 1.5},
            hoverinfo="skip", showlegend=False,
        ))  # fmt: skip
    for name, (trials, marker) in groups.items():
        if trials:
            figure.add_trace(_points(findings, trials, x, y, name, marker, sizes))
    _draw_stars(figure, findings, x, y, sizes)
    _draw_limits(figure, findings, x, y)
    _leave_out_the_far(figure, findings, shown, x)
    styled(figure, height, hovermode="closest", legend={"itemsizing": "constant"})
    figure.update_xaxes(title_text=label(x, findings.metric), rangemode="tozero" if x != "score" else "normal")
    figure.update_yaxes(title_text=label(y, findings.metric))
    return figure


def _draw_stars(figure: Figure, findings: Findings, x: str, y: str, sizes: dict[int, float]) -> None:
    """The baseline, and the one that was chosen."""
    stars: list[tuple[str, Trial | None, dict[str, Any]]] = [
        ("baseline", findings.baseline, {"symbol": "diamond", "color": BLACK, "opacity": 1}),
        (
            "chosen",
            findings.winner and findings.latest(findings.winner),
            {"symbol": "star", "color": ORANGE, "opacity": 1, "line": {"color": BLACK, "width": 1}},
        ),
    ]
    for name, trial, marker in stars:
        if trial and x in trial.measurement and y in trial.measurement:
            least = {trial.number: max(sizes.get(trial.number, 0.0), 15.0)}
            figure.add_trace(_points(findings, [trial], x, y, name, marker, least))


def _points(
    findings: Findings, trials: list[Trial], x: str, y: str, name: str, marker: dict[str, Any], sizes: dict[int, float]
) -> Any:
    from plotly.graph_objects import Scatter

    line = {"line": {"color": "white", "width": 1}}
    return Scatter(
        x=[t.measurement[x] for t in trials], y=[t.measurement[y] for t in trials], mode="markers", name=name,
        marker=line | marker | {"size": [sizes.get(t.number, 9.0) for t in trials]},
        text=[findings.hover(t) for t in trials], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _sizes(findings: Findings, trials: list[Trial], quantity: str | None) -> dict[int, float]:
    """A trial's number -> how many pixels its marker is across: the area is in proportion to the quantity."""
    every = {t.number: t.measurement[quantity] for t in [findings.baseline, *trials]
             if quantity and quantity in t.measurement}  # fmt: skip
    largest = max(every.values(), default=0.0)
    if largest <= 0:
        return {}
    return {number: max(_SMALLEST, _LARGEST * math.sqrt(value / largest)) for number, value in every.items()}


def _staircase(trials: list[Trial], x: str, y: str) -> list[tuple[float, float]]:
    """The corners of what the front's members beat together, seen in these two quantities."""
    signs = [1 if QUANTITIES[name].better == "minimize" else -1 for name in (x, y)]
    costs = sorted((signs[0] * t.measurement[x], signs[1] * t.measurement[y]) for t in trials)
    steps: list[tuple[float, float]] = []
    for cost in costs:
        if not steps or cost[1] < steps[-1][1]:
            steps += [(cost[0], steps[-1][1])] if steps else []
            steps.append(cost)
    return [(signs[0] * a, signs[1] * b) for a, b in steps]


def far(findings: Findings, shown: list[Trial], x: str) -> tuple[float, str]:
    """Where an axis of costs ends, so that none far over its limit presses the others together, and a word of those.

    The word is empty if there are none.
    """
    limits = [c.limit(findings.baseline.measurement) for c in findings.goals.constraints if c.quantity == x]
    near = [findings.baseline, *(t for t in shown if t.feasible)]
    edge = 1.15 * max([*limits, *(t.measurement[x] for t in near if x in t.measurement)], default=math.inf)
    beyond = [t.measurement[x] for t in shown if t.measurement[x] > 1.5 * edge]
    if QUANTITIES[x].better == "maximize" or not beyond:
        return edge, ""
    return edge, f"{len(beyond)} over a limit further right, up to {max(beyond):.3g}"


def _leave_out_the_far(figure: Figure, findings: Findings, shown: list[Trial], x: str) -> None:
    edge, word = far(findings, shown, x)
    if word:
        figure.update_xaxes(range=[0, edge])
        figure.add_annotation(
            text=f"{word}:<br>double-click for all", xref="paper", x=1, yref="paper", y=0, xanchor="right",
            yanchor="bottom", showarrow=False, align="right", font={"size": 11}, opacity=0.75,
        )  # fmt: skip


def _draw_limits(figure: Figure, findings: Findings, x: str, y: str) -> None:
    """A line for every constraint on one of the two."""
    for constraint in findings.goals.constraints:
        limit, said = constraint.limit(findings.baseline.measurement), constraint.text
        style = {"line": {"color": RED, "dash": "dash", "width": 1.5}, "annotation_text": said,
                 "annotation_font": {"color": RED, "size": 11}}  # fmt: skip
        if constraint.quantity == x:
            figure.add_vline(limit, **style, annotation_position="top right", annotation_textangle=-90)
        elif constraint.quantity == y:
            figure.add_hline(limit, **style, annotation_position="bottom right")
