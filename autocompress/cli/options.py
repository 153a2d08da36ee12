"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.errors import ConfigError

SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="the search space")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a study's name or folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON alone")]
Trials = Annotated[int | None, typer.Option(min=1, help="recipes to train in all, over every resume")]
Timeout = Annotated[str | None, typer.Option(metavar="30m", help="stop after this time: 90s, 30m, 2h")]
Workers = Annotated[int, typer.Option(min=1, help="trials at once, each with its share of the CPU threads")]
TrialTimeout = Annotated[str | None, typer.Option(metavar="10m", help="a trial that trains for longer fails")]
Rule = Annotated[
    str | None, typer.Option(help="which of the front: knee, best_score, fastest, smallest; else what the space says")
]
Hours = Annotated[
    float | None, typer.Option("--max-hours-of-training", min=0, help="stop once all trainings took this long together")
]


def _model_name(name: str | None) -> str | None:
    """Checked before a search of hours, not after it."""
    if name is not None:
        from autocompress.tracking.registry import checked_name

        checked_name(name)
    return name


Register = Annotated[str | None, typer.Option(metavar="NAME", callback=_model_name, help="also a model in MLflow")]


def seconds_of(option: str, text: str | None) -> float | None:
    """`90s`, `30m`, `2h` or plain seconds."""
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    number = text[:-1] if unit else text
    if not number.replace(".", "", 1).isdigit():
        raise ConfigError(f"{option}: it should be a time such as 90s, 30m or 2h. Got {text!r}.")
    return float(number) * (unit or 1)
