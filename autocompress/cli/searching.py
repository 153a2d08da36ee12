"""The commands that search, and what they say at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from autocompress.cli.options import (  # fmt: skip
    Hours,
    Register,
    Rule,
    SpaceFile,
    StudyName,
    Timeout,
    Trials,
    TrialTimeout,
    Workers,
    seconds_of,
)
from autocompress.cli.terminal import INTERRUPTED, heed_signals, not_kept, print_table
from autocompress.errors import NothingFeasible, Paused
from autocompress.tasks.data.pairs import predict_line

if TYPE_CHECKING:
    from rich.console import Console

    from autocompress.study import Study


class Asked(NamedTuple):
    """What the command line says about this run of a search."""

    trials: int | None
    timeout: str | None
    workers: int
    trial_timeout: str | None
    hours: float | None
    rule: str | None
    to: Path | None
    register: str | None


def search(
    space: SpaceFile, trials: Trials = None, timeout: Timeout = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="the study's name, else the file's")] = None,
    rule: Rule = None,
    to: Annotated[Path | None, typer.Option(help="where the chosen model goes; exported/STUDY if left out")] = None,
    workers: Workers = 1, trial_timeout: TrialTimeout = None, max_hours_of_training: Hours = None,
    register: Register = None,
) -> None:  # fmt: skip
    """Run a search. On a study that exists it goes on where it stopped."""
    from autocompress.study import Study

    _search(
        Study.create(space, study),
        Asked(trials, timeout, workers, trial_timeout, max_hours_of_training, rule, to, register),
    )


def resume(
    study: StudyName, trials: Trials = None, timeout: Timeout = None, rule: Rule = None, to: Path | None = None,
    workers: Workers = 1, trial_timeout: TrialTimeout = None, max_hours_of_training: Hours = None,
    register: Register = None,
) -> None:  # fmt: skip
    """Go on with a study, from its own copy of its space."""
    from autocompress.study import Study

    _search(
        Study.open(study), Asked(trials, timeout, workers, trial_timeout, max_hours_of_training, rule, to, register)
    )


def _search(study: Study, run: Asked) -> None:
    """Search under a display, then show the front and export the chosen one."""
    from rich.console import Console

    from autocompress.export import files
    from autocompress.machine import disk

    files.check(_place(study, run))  # not only after a search of hours
    console = Console()
    try:
        with disk.pausing():
            reason = _searched(study, run, console)
    except (KeyboardInterrupt, Paused) as error:
        print(f"\n{_kept(study, run)}", file=sys.stderr)
        if isinstance(error, Paused):
            raise
        sys.exit(INTERRUPTED)
    if reason:
        console.print(f"The search ended early: {reason}.")
    _conclude(study, console, run)


def _searched(study: Study, run: Asked, console: Console) -> str:
    """Why it ended early, if it did."""
    from autocompress.report.live import Display

    budget, charged = run.trials or study.space.search.trials, study.charged()
    timeout = float("inf") if run.timeout is None else seconds_of("--timeout", run.timeout)
    trial_timeout = None if run.trial_timeout is None else seconds_of("--trial-timeout", run.trial_timeout)
    if charged >= budget:
        console.print(
            f"The study {study.name!r} has its {budget} trials already. --trials {charged + 20} would add 20."
        )
    heed_signals()
    with Display(console, budget, study.trials) as display:
        hours = float("inf") if run.hours is None else run.hours
        return study.run(run.trials, timeout, display, run.workers, trial_timeout, training_hours=hours, rule=run.rule)


def _conclude(study: Study, console: Console, run: Asked) -> None:
    """The front as a table, the chosen model as a folder, and the next lines to type."""
    from autocompress.machine.heartbeat import Heartbeat
    from autocompress.report.tables import FRONT_COLUMNS, footnote, front_rows

    assert study.baseline
    front = study.front
    title, note = f"The front of {study.name}", footnote(front)
    print_table(FRONT_COLUMNS, front_rows(study.baseline, front), title, console, note)
    rule, to = run.rule or study.space.search.rule, _place(study, run)
    best = study.best(rule)
    with Heartbeat(lambda: f"{best.label} is still being scored on the test split and exported.", console.print):
        scores = study.judged(best)
        study.export(to, best.number)
    broken = study.broken(best)
    sure = best.number in study.confirmed or not study.space.search.confirm.top
    unsure = "" if sure else "It was not confirmed with other seeds: its figures are those of the search. "
    console.print(
        f"\n{'Nearest' if broken else 'Chosen'} by {rule}: {best.label}. On the untouched test split it scores "
        f"{scores['test_score']:.3f}, the baseline {scores['baseline_test_score']:.3f}. {unsure}It is in {to}/\n\n"
        f"  {predict_line(to, study.space.task.text)}\n"
        f"  autocompress resume {study.name} --trials {study.charged() + 20}\n"
        f"  autocompress ui {study.name}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    if broken:
        again = f" --trial {best.number} --to {to} --register {run.register}"
        unregistered = f". It was not registered: autocompress export {study.name}{again}" if run.register else ""
        raise NothingFeasible(not_kept(best, broken) + unregistered)
    if run.register:
        print(f"\n{study.register(to, run.register, best.number)}")


def _place(study: Study, run: Asked) -> Path:
    """Where the chosen model goes."""
    return run.to or Path("exported") / study.name


def _kept(study: Study, run: Asked) -> str:
    more = (f" --trials {run.trials}" if run.trials else "") + (f" --workers {run.workers}" if run.workers > 1 else "")
    try:
        charged = f"{study.charged()} trained trials are kept in"
    except Exception:  # not even the database can be opened on a disk that is full
        charged = "What was done is kept in"
    return (
        f"Stopped. {charged} {os.path.relpath(study.folder)}; "
        f"what was under way goes on from where it was put aside.\n  autocompress resume {study.name}{more}"
    )
