"""What each knob decides, and what changes with each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.report.figures.style import COLOURS, GREY, nothing, styled
from autocompress.report.findings import worth
from autocompress.report.findings.gather import FEWEST, Findings
from autocompress.report.findings.quantities import called
from autocompress.report.findings.quantities import figure as told

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST = 12


def importance(findings: Findings) -> Figure:
    """How much of being among the best in an objective a method or knob decides."""
    from plotly.graph_objects import Bar, Figure

    found = findings.importances
    if not any(found.values()):
        return nothing(f"fewer than {FEWEST} recipes were measured: too few to tell")
    names = worth.ranked(found)[:_MOST]
    drawn = Figure()
    for (objective, shares), colour in zip(found.items(), COLOURS, strict=False):
        drawn.add_trace(Bar(
            y=names, x=[shares.get(name, 0.0) for name in names], name=called(objective), orientation="h",
            marker={"color": colour}, hovertemplate="%{y}: %{x:.0%}<extra>" + called(objective) + "</extra>",
        ))  # fmt: skip
    styled(drawn, 110 + 16 * (len(found) + 1) * len(names), barmode="group", legend={"traceorder": "normal"})
    drawn.update_xaxes(tickformat=".0%", title_text="share of what is decided")
    drawn.update_yaxes(showgrid=False, autorange="reversed")
    return drawn


def methods(findings: Findings) -> Figure:
    """The median over the recipes with a method, against those without it, as a share of the baseline's figure."""
    from plotly.graph_objects import Bar, Figure

    effects, baseline = worth.effects(findings), findings.baseline.measurement
    if not effects:
        return nothing("every measured recipe has the same methods")
    names = list(dict.fromkeys(e.method for e in effects))
    drawn = Figure()
    for objective, colour in zip(findings.goals.objectives, COLOURS, strict=False):
        mine = {e.method: e for e in effects if e.objective == objective}
        says = [
            f"{e.method}: {called(objective)} {told(objective, e.with_it)} with it ({e.counts[0]} recipes), "
            f"{told(objective, e.without)} without ({e.counts[1]})"
            for e in (mine[name] for name in names)
        ]
        drawn.add_trace(Bar(
            y=names, x=[mine[name].change(baseline[objective]) for name in names], name=called(objective),
            orientation="h", marker={"color": colour}, text=says, textposition="none",
            hovertemplate="%{text}<extra></extra>",
        ))  # fmt: skip
    count = len(findings.goals.objectives)
    styled(drawn, 110 + 16 * (count + 1) * len(names), barmode="group", legend={"traceorder": "normal"})
    drawn.update_xaxes(tickformat="+.0%", title_text="change, % of baseline")
    drawn.update_yaxes(showgrid=False, autorange="reversed")
    drawn.add_vline(0, line={"color": GREY, "width": 1})
    return drawn
