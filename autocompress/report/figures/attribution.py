"""The chosen recipe step by step: what each step gives and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.report.figures.style import COLOURS, GREY, nothing, styled
from autocompress.report.findings import steps
from autocompress.report.findings.gather import Findings
from autocompress.report.findings.quantities import figure as told
from autocompress.report.findings.quantities import label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def attribution(findings: Findings) -> Figure:
    """A row for the score, the latency and the size each: at the baseline, and after every step that was measured."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    walked = [step for step in steps.walked(findings) if step.measurement]
    if len(walked) < 2:
        return nothing("the chosen recipe was not replayed")
    quantities = [name for name in steps.QUANTITIES if all(name in s.measurement for s in walked)]
    figure = make_subplots(rows=len(quantities), shared_xaxes=True, vertical_spacing=0.09)
    names = ["<br>".join(step.names) for step in walked]
    for row, (quantity, colour) in enumerate(zip(quantities, COLOURS, strict=False), 1):
        values = [step.measurement[quantity] for step in walked]
        figure.add_trace(Scatter(
            x=names, y=values, mode="lines+markers+text", text=[told(quantity, v) for v in values], cliponaxis=False,
            textposition="top center", textfont={"size": 11}, line={"color": GREY, "width": 1.5},
            marker={"color": colour, "size": 11}, hovertemplate="%{x}: %{text}<extra></extra>",
        ), row=row, col=1)  # fmt: skip
        room = 0.25 * ((max(values) - min(values)) or abs(values[0]) or 1.0)
        figure.update_yaxes(title_text=label(quantity), range=[min(values) - room, max(values) + 1.6 * room], row=row)
    styled(figure, 170 * len(quantities) + 60, showlegend=False)
    figure.update_xaxes(type="category", range=[-0.45, len(names) - 0.55])
    return figure
