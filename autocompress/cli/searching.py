"""The commands that search, and what they say at the end."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from autocompress.cli.conclusion import chosen_model, conclusion
from autocompress.cli.options import (  # fmt: skip
    WORKERS,
    Hours,
    Quiet,
    Register,
    Report,
    ResultJson,
    Rule,
    SpaceFile,
    StudyName,
    Timeout,
    Trials,
    TrialTimeout,
    Workers,
    seconds_of,
)
from autocompress.cli.terminal import INTERRUPTED, heed_signals, not_kept, print_json, print_sheet
from autocompress.errors import NothingFeasible, Paused
from autocompress.tasks.data.pairs import predict_line

if TYPE_CHECKING:
    from rich.console import Console

    from autocompress.engine.trial import Trial
    from autocompress.study import Study


class Asked(NamedTuple):
    """What the command line says about this run of a search."""

    trials: int | None
    timeout: str | None
    workers: str
    trial_timeout: str | None
    hours: float | None
    rule: str | None
    to: Path | None
    register: str | None
    quiet: bool
    as_json: bool
    report: bool


def search(
    space: SpaceFile, trials: Trials = None, timeout: Timeout = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="the study's name, else the file's")] = None,
    rule: Rule = None,
    to: Annotated[Path | None, typer.Option(help="where the chosen model goes; exported/STUDY if left out")] = None,
    workers: Workers = "auto", trial_timeout: TrialTimeout = None, max_hours_of_training: Hours = None,
    register: Register = None, quiet: Quiet = False, as_json: ResultJson = False, report: Report = True,
) -> None:  # fmt: skip
    """Run a search. On a study that exists it goes on where it stopped."""
    from autocompress.study import Study

    hours = max_hours_of_training
    asked = Asked(trials, timeout, workers, trial_timeout, hours, rule, to, register, quiet, as_json, report)
    _search(Study.create(space, study), asked)


def resume(
    study: StudyName, trials: Trials = None, timeout: Timeout = None, rule: Rule = None, to: Path | None = None,
    workers: Workers = "auto", trial_timeout: TrialTimeout = None, max_hours_of_training: Hours = None,
    register: Register = None, quiet: Quiet = False, as_json: ResultJson = False, report: Report = True,
) -> None:  # fmt: skip
    """Go on with a study, from its own copy of its space."""
    from autocompress.study import Study

    hours = max_hours_of_training
    asked = Asked(trials, timeout, workers, trial_timeout, hours, rule, to, register, quiet, as_json, report)
    _search(Study.open(study), asked)


def _search(study: Study, run: Asked) -> None:
    """Search under a display, then show the front and export the chosen one."""
    from rich.console import Console

    from autocompress.export import files
    from autocompress.machine import disk

    files.check(_place(study, run))  # not only after a search of hours
    console = Console(stderr=run.as_json, quiet=run.quiet)
    try:
        with disk.pausing():
            reason = _searched(study, run, console)
    except (KeyboardInterrupt, Paused) as error:
        print(f"\n{_kept(study, run)}", file=sys.stderr)
        if isinstance(error, Paused):
            raise
        sys.exit(INTERRUPTED)
    except NothingFeasible as error:
        if run.as_json:
            print_json(conclusion(study, str(error), run.rule or study.space.search.rule))
        raise
    if reason:
        console.print(f"The search ended early: {reason}.")
    _conclude(study, console, run, reason)


def _searched(study: Study, run: Asked, console: Console) -> str:
    """Why it ended early, if it did."""
    from autocompress.engine.events import Observer
    from autocompress.report.terminal.display import Display

    budget, charged = run.trials or study.space.search.trials, study.charged()
    timeout = float("inf") if run.timeout is None else seconds_of("--timeout", run.timeout)
    trial_timeout = None if run.trial_timeout is None else seconds_of("--trial-timeout", run.trial_timeout)
    hours = float("inf") if run.hours is None else run.hours
    workers: int | Literal["auto"] = "auto" if run.workers == "auto" else int(run.workers)
    if charged >= budget:
        console.print(
            f"The study {study.name!r} has its {budget} trials already. --trials {charged + 20} would add 20."
        )
    heed_signals()

    def search(observer: Observer) -> str:
        return study.run(
            run.trials, timeout, observer, workers, trial_timeout, training_hours=hours, rule=run.rule,
            report=run.report,
        )  # fmt: skip

    if run.quiet:
        return search(Observer())
    with Display(console, budget, study.trials, goals=study.brief.goals, ends_in=timeout) as display:
        return search(display)


def _conclude(study: Study, console: Console, run: Asked, reason: str) -> None:
    """The front as a table, the chosen model as a folder, and the next lines to type. `console`: for what goes on."""
    from autocompress.machine.heartbeat import Heartbeat

    rule, to = run.rule or study.space.search.rule, _place(study, run)
    best = study.best(rule)
    if not run.as_json:
        _show_front(study, best, rule)
    with Heartbeat(lambda: f"{best.label} is still being scored on the test split and exported.", console.print):
        scores = study.judged(best)
        study.export(to, best.number)
    broken = study.broken(best)
    if run.as_json:
        print_json(conclusion(study, reason, rule, chosen_model(study, best, rule, to, scores)))
    else:
        _show_chosen(study, best, rule, to, scores)
    if broken:
        again = f" --trial {best.number} --to {to} --register {run.register}"
        unregistered = f". It was not registered: autocompress export {study.name}{again}" if run.register else ""
        raise NothingFeasible(not_kept(best, broken) + unregistered)
    if run.register:
        registered = study.register(to, run.register, best.number)
        print(f"\n{registered}", file=sys.stderr if run.as_json else sys.stdout)


def _show_front(study: Study, best: Trial, rule: str) -> None:
    """By the best figures that are known: finalists were measured and trained again."""
    from autocompress.report.terminal.trial_sheets import front_sheet

    assert study.baseline
    known = study.finalists(rule).known
    front = [replace(trial, measurement=known[trial.number]) for trial in study.front]
    print(f"\nThe front of {study.name}\n")
    print_sheet(front_sheet(study.baseline, front, best, rule), more=f"`trials {study.name} --front --json`")


def _show_chosen(study: Study, best: Trial, rule: str, to: Path, scores: dict[str, float]) -> None:
    """Which model it is, and three lines to type next."""
    from rich.console import Console

    sure = best.number in study.confirmed or not study.space.search.confirm.top
    unsure = "" if sure else "It was not confirmed with other seeds: its figures are those of the search. "
    said = (
        f"\n{'Nearest' if study.broken(best) else 'Chosen'} by {rule}: {best.label}. On the untouched test split it "
        f"scores {scores['test_score']:.3f}, the baseline {scores['baseline_test_score']:.3f}. {unsure}It is in {to}/"
    )
    console = Console()
    console.print(said, soft_wrap=not console.is_terminal, highlight=False, markup=False)
    print(
        "\nNext:\n"
        f"  {predict_line(to, study.space.task.text)}\n"
        f"  autocompress resume {study.name} --trials {study.charged() + 20}\n"
        f"  autocompress ui {study.name} --compare"
    )


def _place(study: Study, run: Asked) -> Path:
    """Where the chosen model goes."""
    return run.to or Path("exported") / study.name


def _kept(study: Study, run: Asked) -> str:
    workers = f" --workers {run.workers}" if run.workers != os.environ.get(WORKERS, "auto") else ""
    more = (f" --trials {run.trials}" if run.trials else "") + workers
    try:
        charged = f"{study.charged()} trained trials are kept in"
    except Exception:  # not even the database can be opened on a disk that is full
        charged = "What was done is kept in"
    return (
        f"Stopped. {charged} {os.path.relpath(study.folder)}; "
        f"what was under way goes on from where it was put aside.\n  autocompress resume {study.name}{more}"
    )
