"""Commands on exported models: folders that load and serve without a search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.options import Json, Register, Rule, StudyName
from autocompress.cli.terminal import not_kept, print_json, print_table
from autocompress.errors import NothingFeasible


def export(
    study: StudyName, to: Annotated[Path, typer.Option(help="a new folder")],
    trial: Annotated[int | None, typer.Option(help="this trial instead of the rule's")] = None, rule: Rule = None,
    register: Register = None,
) -> None:  # fmt: skip
    """Write the winner (or a trial) as a folder that loads and serves.

    Exit code 3 if no finalist keeps every limit by its confirmed figures: the nearest is written all the same.
    """
    from autocompress.heartbeat import Heartbeat
    from autocompress.study import Study

    opened = Study.open(study)
    chosen = opened.best(rule) if trial is None else opened.trial(trial)
    number = chosen.number
    with Heartbeat(lambda: f"t{number:03d} is still being exported; what is gone of it is trained again first.", print):
        folder = opened.export(to, number)
    print(f'{folder}/ is ready: autocompress predict {to} "some text"')
    if trial is None and (broken := opened.broken(chosen)):
        raise NothingFeasible(not_kept(chosen, broken))
    if register:
        print(f"\n{opened.register(to, register, number)}")


def predict(folder: Path, texts: list[str], as_json: Json = False) -> None:
    """Run an exported model on texts."""
    from autocompress.exported import pipeline

    answers = pipeline(folder)(texts)
    if as_json:
        print_json(answers)
    else:
        print_table(("label", "probability", "text"),
                     [(a["label"], f"{a['score']:.3f}", t) for a, t in zip(answers, texts, strict=True)])  # fmt: skip


def verify(
    folder: Path, as_json: Json = False,
    data: Annotated[str | None, typer.Option(help="a file of labelled texts or a data set's name")] = None,
) -> None:  # fmt: skip
    """Measure an exported model again. Exit code 1 if a figure differs from what its files say."""
    from dataclasses import asdict

    from autocompress.tables import CHECK_COLUMNS, check_row
    from autocompress.verify import verify

    checks = verify(folder, data)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [check_row(check.quantity, check.stored, check.now, check.verdict) for check in checks]
        print_table(CHECK_COLUMNS, rows)
    if any(check.agrees is False for check in checks):
        sys.exit(1)
