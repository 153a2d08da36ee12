"""Where the time of a search went, what was saved, and what became of its recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.report.figures.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, nothing, styled
from autocompress.report.findings import course
from autocompress.report.findings.gather import Findings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS = {"on the front": BLUE, "feasible": SKY, "over": ORANGE, "refused": RED, "stopped": GREEN}


def time(findings: Findings) -> Figure:
    """Seconds by stage, and below them what other recipes would have taken: an estimate."""
    from plotly.graph_objects import Bar, Figure

    spent, saved = course.spent(findings), course.saved(findings)
    if not spent:
        return nothing("no time is on record")
    names, longest = [*spent, *saved][::-1], max([*spent.values(), *saved.values()])
    unit = course.Unit.fit(longest)
    figure = Figure()
    for title, seconds, colour in (("spent", spent, BLUE), ("saved, about", saved, GREEN)):
        if seconds:
            figure.add_trace(Bar(
                y=list(seconds), x=[s / unit.seconds for s in seconds.values()], name=title, orientation="h",
                marker={"color": colour},
                text=[_duration(s) for s in seconds.values()], textposition="outside", cliponaxis=False,
                hovertemplate="%{y}: %{text}<extra></extra>",
            ))  # fmt: skip
    styled(figure, 110 + 30 * len(names), legend={"traceorder": "normal"}, barmode="overlay")
    figure.update_yaxes(showgrid=False, categoryorder="array", categoryarray=names)
    figure.update_xaxes(title_text=unit.name, range=[0, 1.25 * longest / unit.seconds])
    return figure


def fates(findings: Findings) -> Figure:
    """How many recipes came how far."""
    from plotly.graph_objects import Bar, Figure

    counts = course.fates(findings)
    if not counts:
        return nothing("no recipe was tried yet")
    figure = Figure(Bar(
        y=[name.replace(": ", ":<br>") for name in counts], x=list(counts.values()), orientation="h",
        text=list(counts.values()), textposition="outside",
        cliponaxis=False, marker={"color": [_colour(name) for name in counts]},
        hovertemplate="%{y}: %{x}<extra></extra>",
    ))  # fmt: skip
    styled(figure, 90 + 38 * len(counts))
    figure.update_yaxes(showgrid=False, autorange="reversed")
    figure.update_xaxes(title_text="recipes", range=[0, 1.12 * max(counts.values())])
    return figure


def _colour(fate: str) -> str:
    return next((colour for word, colour in _COLOURS.items() if fate.startswith(word)), GREY)


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
