"""The hypervolume and the best score so far, against the trials that were trained or the seconds that went by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from autocompress.report.figures.style import BLUE, GREEN, nothing, styled
from autocompress.report.findings import course
from autocompress.report.findings.gather import Findings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Against = Literal["trials", "seconds"]


def progress(findings: Findings, against: Against = "trials") -> Figure:
    """Both as steps: they hold until something better is found."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    points, best = findings.progress, course.best_scores(findings)
    if not points:
        return nothing("nothing was trained yet")
    unit = course.Unit.fit(points[-1].seconds) if against == "seconds" else course.Unit("trained trials", 1)
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.08)
    figure.add_trace(Scatter(
        x=[getattr(p, against) / unit.seconds for p in points], y=[p.hypervolume for p in points], name="hypervolume",
        line={"color": BLUE, "shape": "hv", "width": 2.5}, mode="lines", hovertemplate="%{y:.4f}<extra></extra>",
    ), row=1, col=1)  # fmt: skip
    figure.add_trace(Scatter(
        x=[getattr(b, against) / unit.seconds for b in best], y=[b.score for b in best], name="best score",
        line={"color": GREEN, "shape": "hv", "width": 2.5}, mode="lines+markers",
        text=[f"t{b.number:03d}" for b in best],
        hovertemplate="%{text}: %{y:.3f}<extra></extra>",
    ), row=2, col=1)  # fmt: skip
    styled(figure, 420, showlegend=False)
    figure.update_yaxes(title_text="hypervolume", row=1)
    figure.update_yaxes(title_text="best feasible score", row=2)
    if best and best[0].score == best[-1].score:
        figure.update_yaxes(range=[best[0].score - 0.05, best[0].score + 0.05], row=2)
    figure.update_xaxes(title_text=unit.name, rangemode="tozero", row=2)
    return figure
