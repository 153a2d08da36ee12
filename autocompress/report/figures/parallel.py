"""Every measured recipe as a line through what it decides and what it measures.

Drawn as plain lines: Plotly's own parallel coordinates need WebGL, which not every browser has, and say nothing of the
recipe that one points at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.engine.trial import Trial
from autocompress.report.figures.style import BLUE, GREY, ORANGE, SKY, nothing, styled
from autocompress.report.findings.axes import Coordinate, axes, chosen
from autocompress.report.findings.gather import Findings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MANY = 60  # lines of one kind, which are then drawn thin
_LONG = 10  # letters that have no room over an axis
_WIDTH = 88  # pixels that an axis needs


def parallel(findings: Findings) -> Figure:
    """The knobs that decide most, then the objectives, better ones up. The chosen recipe is drawn over all others."""
    from plotly.graph_objects import Figure, Scatter

    if len(findings.measured) < 2:
        return nothing("fewer than two recipes were measured")
    shown, won = axes(findings), findings.winner.number if findings.winner else None
    kinds = {"over a limit": GREY, "feasible": SKY, "front": BLUE, "chosen": ORANGE}
    figure = Figure()
    for kind, colour in kinds.items():
        mine = [i for i, t in enumerate(findings.measured) if _kind(t, won) == kind]
        x: list[float | None] = []
        y: list[float | None] = []
        said: list[str] = []
        for i in mine:
            x += [*range(len(shown)), None]
            y += [*(axis.places[i] for axis in shown), None]
            said += [_says(findings.measured[i], axis, i) for axis in shown] + [""]
        if mine:
            thin = len(mine) > _MANY
            figure.add_trace(Scatter(
                x=x, y=y, mode="lines+markers", name=kind, text=said, hovertemplate="%{text}<extra></extra>",
                line={"color": colour, "width": 3.5 if kind == "chosen" else 0.8 if thin else 1.8},
                marker={"size": 3 if thin else 6}, opacity=0.5 if thin or kind == "over a limit" else 1,
            ))  # fmt: skip
    _draw_axes(figure, shown)
    styled(figure, 460, hovermode="closest", margin={"t": 84, "l": 8, "r": 8, "b": 8})
    figure.update_layout(legend={"y": -0.04, "yanchor": "top"})
    figure.update_xaxes(visible=False, range=[-0.45, len(shown) - 0.4])
    figure.update_yaxes(visible=False, range=[-0.06, 1.04])
    return figure


def width(findings: Findings) -> int:
    """Pixels that it takes to be read."""
    return _WIDTH * (len(chosen(findings)) + len(findings.goals.objectives))


def _kind(trial: Trial, won: int | None) -> str:
    if trial.number == won:
        return "chosen"
    return "front" if trial.front else "feasible" if trial.feasible else "over a limit"


def _says(trial: Trial, axis: Coordinate, i: int) -> str:
    return f"t{trial.number:03d}: {axis.title.replace('<br>', ' ')} {axis.values[i]}"


def _broken(title: str) -> str:
    """Long words in lines of their own, so that neighbours do not touch."""
    return "<br>".join(word.replace("_", "_<br>") if len(word) > _LONG else word for word in title.split("<br>"))


def _draw_axes(figure: Figure, shown: list[Coordinate]) -> None:
    for i, axis in enumerate(shown):
        figure.add_shape(type="line", x0=i, x1=i, y0=0, y1=1, line={"color": GREY, "width": 1}, layer="below")
        figure.add_annotation(x=i, y=1.01, yref="paper", text=f"<b>{_broken(axis.title)}</b>", yanchor="bottom",
                              showarrow=False, font={"size": 11})  # fmt: skip
        for place, word in axis.ticks.items():
            figure.add_annotation(x=i, y=place, text=word, showarrow=False, xanchor="left", xshift=5,
                                  font={"size": 10}, bgcolor="rgba(255,255,255,0.75)", borderpad=1)  # fmt: skip
