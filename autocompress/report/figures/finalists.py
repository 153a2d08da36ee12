"""The finalists' scores with their intervals: as the search measured them, and over several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.report.figures.style import BLACK, BLUE, GREY, RED, nothing, styled
from autocompress.report.findings.gather import Findings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def finalists(findings: Findings) -> Figure:
    """One row a finalist: its seeds, their mean with its 95 % interval; the baseline and the limits as lines."""
    from plotly.graph_objects import Figure, Scatter

    shown = [t for t in findings.finalists if "seeds" in findings.known[t.number]]
    if not shown:
        return nothing("no finalist was trained with other seeds")
    figure, names = Figure(), [f"t{t.number:03d}" for t in shown]
    seeds = [(name, m["score"]) for t, name in zip(shown, names, strict=True)
             for m in findings.repeats[t.number].values()]  # fmt: skip
    figure.add_trace(Scatter(
        x=[score for _, score in seeds], y=[name for name, _ in seeds], mode="markers", name="one seed",
        marker={"symbol": "line-ns", "size": 14, "color": GREY, "line": {"color": GREY, "width": 2}},
        hovertemplate="%{y}: %{x:.3f}<extra>one seed</extra>",
    ))  # fmt: skip
    means = [findings.known[t.number] for t in shown]
    figure.add_trace(Scatter(
        x=[m["score"] for m in means], y=names, mode="markers", name="mean, with its 95 % interval",
        marker={"size": 11, "color": BLUE},
        error_x={"array": [m["score_high"] - m["score"] for m in means], "symmetric": False, "color": BLUE,
                 "arrayminus": [m["score"] - m["score_low"] for m in means], "thickness": 2, "width": 6},
        hovertemplate="%{y}: %{x:.3f}<extra>mean</extra>",
    ))  # fmt: skip
    baseline = findings.baseline.measurement
    figure.add_vline(baseline["score"], line={"color": BLACK, "width": 1.5}, annotation_text="baseline",
                     annotation_position="top", annotation_font={"size": 11})  # fmt: skip
    for constraint in findings.goals.constraints:
        if constraint.quantity == "score":
            figure.add_vline(constraint.limit(baseline), line={"color": RED, "dash": "dash", "width": 1.5},
                             annotation_text="limit", annotation_position="top",
                             annotation_font={"size": 11, "color": RED})  # fmt: skip
    styled(figure, 150 + 46 * len(names), legend={"y": -0.35 if len(names) < 3 else -0.2, "yanchor": "top"})
    figure.update_layout(margin={"t": 28})
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text=f"score ({findings.metric})")
    return figure
