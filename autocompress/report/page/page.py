"""The report: one HTML file with all that it needs in it, and beside it the main figures as PNGs."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from autocompress.machine import cache
from autocompress.report.findings.gather import Findings
from autocompress.report.page import pictures, sections

NAME = "report.html"
_SECTIONS = (
    sections.the_front, sections.the_winner, sections.the_finalists, sections.the_worth, sections.the_pairs,
    sections.the_course,
)  # fmt: skip
_LINKS = {
    "front": "Front", "recipe": "Recipe", "finalists": "Finalists", "worth": "Knobs and methods", "pairs": "Pairs",
    "course": "Course",
}  # fmt: skip


def write(findings: Findings, folder: Path) -> Path:
    """Write report.html and the PNGs into a folder that exists; returns the place of the former."""
    pictures.write(findings, folder)
    cache.write_text(folder / NAME, html(findings))
    return folder / NAME


def html(findings: Findings) -> str:
    """The whole file. Nothing in it is fetched from anywhere."""
    from plotly.offline import get_plotlyjs

    parts = [make(findings) for make in _SECTIONS]
    links = "".join(
        f'<a href="#{name}">{text}</a>' for name, text in _LINKS.items() if any(f'id="{name}"' in p for p in parts)
    )
    facts = ", ".join(f"{name} {value}" for name, value in findings.facts.items())
    title = escape(f"{findings.study}: what the search found")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{_text("style.css")}</style>\n'
        f"<script>{get_plotlyjs()}</script></head>\n<body>\n"
        f"<header><h1>{title}</h1>\n<p class=soft>{escape(facts)}</p>\n{sections.summary(findings)}<nav>{links}</nav>"
        f"</header>\n<main>\n{''.join(parts)}</main>\n"
        f"<footer>Go on: <code>autocompress resume {escape(findings.study)}</code>. Every trial: <code>autocompress "
        f"trials {escape(findings.study)}</code>.</footer>\n"
        f"<script>{_text('script.js')}</script>\n</body></html>\n"
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
