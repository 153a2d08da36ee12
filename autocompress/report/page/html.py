"""The few pieces of HTML that the page is made of. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_CONFIG = {"responsive": True, "displayModeBar": False}  # a double click zooms out; the PNGs lie beside the page

_LONG = 30  # letters of a cell


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page that can be linked to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>\n{"".join(parts)}</section>\n'


def paragraph(text: str, *, soft: bool = False) -> str:
    return f"<p{' class=soft' * soft}>{escape(text)}</p>\n"


def chart(figure: Figure, name: str, caption: str = "", least: int = 0) -> str:
    """A figure as wide as the page. `least`: pixels below which it is scrolled sideways instead."""
    from plotly.io import to_html

    drawn = to_html(
        figure, config=_CONFIG, include_plotlyjs=False, full_html=False, div_id=f"figure-{name}",
        default_height=f"{figure.layout.height:.0f}px",
    )  # fmt: skip
    inside = f'<div style="min-width:{least}px">{drawn}</div>' if least else drawn
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure{' class=wide' * bool(least)}>{inside}{said}</figure>\n"


def beside(*parts: str) -> str:
    """Next to each other where there is room, else below each other."""
    return f'<div class="beside">{"".join(parts)}</div>\n'


def tile(title: str, value: str, *more: str) -> str:
    """A figure to see from afar."""
    lines = "".join(f"<span>{escape(line)}</span>" for line in more if line)
    return f'<div class="tile"><span>{escape(title)}</span><b>{escape(value)}</b>{lines}</div>'


def tiles(*each: str) -> str:
    return f'<div class="tiles">{"".join(each)}</div>\n'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], chosen: Collection[str] = ()) -> str:
    """`chosen`: the first cells of the rows that stand out."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr{' class=chosen' * (row[0] in chosen)}>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def _cell(text: str) -> str:
    """Long ones are broken into lines, and no others."""
    return f"<td{' class=long' * (len(text) > _LONG)}>{escape(text)}</td>"


def code(text: str) -> str:
    """To copy."""
    return f'<div class="code"><button type="button">Copy</button><pre>{escape(text)}</pre></div>\n'
