"""What all figures have in common: Okabe and Ito's colours, which colour-blind people tell apart, fonts and margins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe & Ito 2008, "Color Universal Design".
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442",
)  # fmt: skip
BLACK, GREY, PALE = "#222222", "#9a9a9a", "#e4e4e4"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)  # of objectives, in their order
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def styled(figure: Figure, height: int, **layout: Any) -> Figure:
    """The figure with the common layout. `height`: pixels; the width is that of the page."""
    axis = {
        "gridcolor": PALE, "linecolor": GREY, "zeroline": False, "automargin": True, "ticks": "outside",
        "tickcolor": GREY, "title": {"standoff": 8, "font": {"size": 13}},
    }  # fmt: skip
    figure.update_layout(
        template="none", height=height, paper_bgcolor="white", plot_bgcolor="white",
        font={"family": _FONT, "size": 13, "color": BLACK}, margin={"l": 8, "r": 12, "t": 12, "b": 8},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"size": 12, "color": BLACK}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
    )  # fmt: skip
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(**layout)
    return figure


def nothing(why: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.add_annotation(text=why, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return styled(figure, 120, xaxis={"visible": False}, yaxis={"visible": False})
