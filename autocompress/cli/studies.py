"""Commands on studies and their trials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.options import Json, Rule, StudyName, TrialName, trial_number
from autocompress.cli.terminal import heed_signals, print_json, print_sheet, print_table
from autocompress.errors import ConfigError


def studies(as_json: Json = False) -> None:
    """Every study in studies/."""
    from autocompress.study import Study, known_studies

    rows = [Study.open(name).row() for name in known_studies()]
    if as_json:
        print_json(rows)
    elif not rows:
        print("There are no studies in studies/ yet: autocompress search SPACE.yaml")
    else:
        columns = ("study", "model", "trained", "front", "created")
        print_table(columns, [tuple(str(row[c]) for c in columns) for row in rows])


def trials(
    study: StudyName, as_json: Json = False,
    refused: Annotated[bool, typer.Option("--refused", help="the refused and repeated recipes instead")] = False,
    front: Annotated[bool, typer.Option("--front", help="the baseline and the front alone")] = False,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="the best first: score, latency_ms, size_mb, seconds, ...")
    ] = None,
) -> None:  # fmt: skip
    """The trials of a study, with front and constraint marks."""
    from autocompress.report.terminal.trial_sheets import ordered, refused_sheet, trial_sheet
    from autocompress.study import Study
    from autocompress.trials.job import BASELINE

    if front and refused:
        raise ConfigError("trials: what was refused is never on the front. Give --front or --refused.")
    shown = Study.open(study).listed(refused=refused)
    if front:
        shown = [trial for trial in shown if trial.front or trial.number == BASELINE]
    if sort:
        shown = ordered(shown, sort)
    if as_json:
        print_json([trial.row() for trial in shown])
    else:
        print_sheet(refused_sheet(shown) if refused else trial_sheet(shown))


def compare(study: StudyName, a: TrialName, b: TrialName, as_json: Json = False) -> None:
    """Two trials side by side. The baseline is -1."""
    from autocompress.report.terminal.comparison import comparison
    from autocompress.study import Study

    opened = Study.open(study)
    first, second = opened.trial(trial_number(a)), opened.trial(trial_number(b))
    if as_json:
        print_json([first.row(), second.row()])
    else:
        print_sheet(comparison(first, second, opened.gain(first, second)))


def tabulate(
    study: StudyName,
    to: Annotated[Path | None, typer.Option(metavar="FILE.parquet", help="the file; STUDY.parquet if left out")] = None,
) -> None:
    """Write every recipe that was tried, with its rungs, costs and measurements, as a table."""
    from autocompress.report.parquet import tabulate
    from autocompress.study import Study

    opened = Study.open(study)
    to = to or Path(f"{opened.name}.parquet")
    print(f"{to} holds {tabulate(opened, to)} recipes of the study {opened.name!r}.")


def report(
    study: StudyName,
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="else studies/STUDY/report")] = None,
    rule: Rule = None,
) -> None:
    """Write what a study found as one HTML file, with figures that need no network, and as PNGs.

    Example: autocompress report quickstart --to report
    """
    from autocompress.study import Study

    heed_signals()
    place = Study.open(study).report(to, rule)
    print(f"The report is in {os.path.relpath(place)}; beside it are its figures as PNGs.")


def sync(
    study: StudyName,
    restore: Annotated[bool, typer.Option("--restore", help="bring its experiment back if it was deleted")] = False,
) -> None:
    """Log to MLflow what it missed while it did not answer."""
    from autocompress.study import Study

    print(f"{Study.open(study).sync(restore=restore)} holds the study {study!r}.")


def ui(
    study: StudyName,
    compare: Annotated[bool, typer.Option("--compare", help="the front, on charts and side by side")] = False,
    port: Annotated[int | None, typer.Option(help="5000, or a free one, if left out")] = None,
) -> None:
    """MLflow's web pages on this study, at 127.0.0.1."""
    from autocompress.study import Study

    heed_signals()
    Study.open(study).serve_ui(port, compare=compare)
