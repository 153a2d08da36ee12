"""Commands on exported models: folders that load and serve without a search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.options import Json, Register, Rule, StudyName, trial_number
from autocompress.cli.terminal import not_kept, print_json, print_table
from autocompress.errors import ConfigError, NothingFeasible
from autocompress.tasks.data.pairs import Text, predict_line


def export(
    study: StudyName, to: Annotated[Path, typer.Option(help="a new folder")],
    trial: Annotated[str | None, typer.Option(metavar="TRIAL", help="this trial instead of the rule's")] = None,
    rule: Rule = None, register: Register = None,
) -> None:  # fmt: skip
    """Write the winner (or a trial) as a folder that loads and serves.

    Exit code 3 if no finalist keeps every limit by its confirmed figures: the nearest is written all the same.
    """
    from autocompress.machine.heartbeat import Heartbeat
    from autocompress.study import Study

    opened = Study.open(study)
    chosen = opened.best(rule) if trial is None else opened.trial(trial_number(trial))
    number = chosen.number
    with Heartbeat(lambda: f"t{number:03d} is still being exported; what is gone of it is trained again first.", print):
        folder = opened.export(to, number)
    print(f"{folder}/ is ready: {predict_line(to, opened.space.task.text)}")
    if trial is None and (broken := opened.broken(chosen)):
        raise NothingFeasible(not_kept(chosen, broken))
    if register:
        print(f"\n{opened.register(to, register, number, anyway=trial is not None)}")


def predict(
    folder: Path, texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...")] = None,
    pair: Annotated[bool, typer.Option("--pair", help="the texts are pairs: --pair A B --pair C D")] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="of a model that continues texts: tokens to write at most (32)")
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run an exported model on texts, or on pairs of texts."""
    from autocompress.serving.pipeline import pipeline

    words = texts or []
    if not words or (pair and len(words) % 2):
        rule = "there should be two texts for every pair" if pair else "there should be a text, or --pair and two texts"
        raise ConfigError(f"predict: {rule}. Got {len(words)}.")
    given: list[Text] = list(zip(words[::2], words[1::2], strict=True)) if pair else [*words]
    ask = pipeline(folder)
    answers = ask(given, max_new_tokens=max_new_tokens)
    if as_json:
        print_json(answers)
    else:
        shown = [ask.kind.shown(answer) for answer in answers]
        rows = [(*cells.values(), *(t if isinstance(t, tuple) else (t,)))
                for cells, t in zip(shown, given, strict=True)]  # fmt: skip
        names = shown[0].keys()
        print_table((*names, *ask.serving.columns), rows)


def verify(
    folder: Path, as_json: Json = False,
    data: Annotated[str | None, typer.Option(help="a file of labelled texts or a data set's name")] = None,
) -> None:  # fmt: skip
    """Measure an exported model again. Exit code 1 if a figure differs from what its files say."""
    from dataclasses import asdict

    from autocompress.report.tables import CHECK_COLUMNS, check_row
    from autocompress.serving.verify import verify

    checks = verify(folder, data)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [check_row(check.quantity, check.stored, check.now, check.verdict) for check in checks]
        print_table(CHECK_COLUMNS, rows)
    if any(check.agrees is False for check in checks):
        sys.exit(1)
