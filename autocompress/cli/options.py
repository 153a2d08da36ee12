"""Arguments and options that several commands take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from autocompress.errors import ConfigError


def study_names() -> list[str]:
    """What a shell completes the name of a study to."""
    from autocompress.study import known_studies

    return known_studies()


def trial_number(text: str) -> int:
    """`17`, `t017` as tables have it, `baseline` or -1. Raises `ConfigError` for anything else."""
    if text in ("baseline", "-1"):
        return -1
    if not re.fullmatch(r"t?[0-9]+", text):
        raise ConfigError(f"a trial is a number such as 17 or t017, or baseline. Got {text!r}.")
    return int(text.removeprefix("t"))


WORKERS = "AUTOCOMPRESS_WORKERS"  # the variable that says another default than auto


def _workers(text: str) -> str:
    if text != "auto" and not re.fullmatch(r"[1-9][0-9]*", text):
        raise ConfigError(f"--workers: it should be a number from 1 on, or auto. Got {text!r}.")
    return text


SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="the search space")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a study's name or folder", autocompletion=study_names)]
TrialName = Annotated[str, typer.Argument(metavar="TRIAL", help="17 or t017; baseline or -1: the baseline")]
Json = Annotated[bool, typer.Option("--json", help="print JSON alone")]
Quiet = Annotated[bool, typer.Option("--quiet", help="print the result alone, and nothing on the way")]
ResultJson = Annotated[bool, typer.Option("--json", help="print the result as JSON; what happens goes to stderr")]
Trials = Annotated[int | None, typer.Option(min=1, help="recipes to train in all, over every resume")]
Timeout = Annotated[
    str | None, typer.Option(metavar="30m", help="end this run after 90s, 30m, 2h: trainings are put aside")
]
Workers = Annotated[
    str,
    typer.Option(
        metavar="N|auto", envvar=WORKERS, callback=_workers,
        help="trials at once, each with its share of the CPU threads; auto: as many as pay here",
    ),
]  # fmt: skip
Report = Annotated[
    bool, typer.Option("--report/--no-report", envvar="AUTOCOMPRESS_REPORT", help="write the report at the end")
]
TrialTimeout = Annotated[str | None, typer.Option(metavar="10m", help="a trial that takes longer in all fails")]
Rule = Annotated[
    str | None, typer.Option(help="which of the front: knee, best_score, fastest, smallest; else what the space says")
]
Hours = Annotated[
    float | None,
    typer.Option(
        "--max-hours-of-training", min=0, help="begin nothing once all trainings, the teacher's too, took so long"
    ),
]


def _model_name(name: str | None) -> str | None:
    """Checked before a search of hours, not after it."""
    if name is not None:
        from autocompress.tracking.registry import checked_name

        checked_name(name)
    return name


Register = Annotated[str | None, typer.Option(metavar="NAME", callback=_model_name, help="also a model in MLflow")]


def seconds_of(option: str, text: str) -> float:
    """`90s`, `30m`, `2h` or plain seconds. Raises `ConfigError` for anything else."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    number = text[:-1] if unit else text
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", number):
        raise ConfigError(f"{option}: it should be a time such as 90s, 30m or 2h. Got {text!r}.")
    return float(number) * (unit or 1)
