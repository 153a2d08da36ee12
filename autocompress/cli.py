"""The command line. Every command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autocompress.errors import AutocompressError, ConfigError, NothingFeasible, Paused

if TYPE_CHECKING:
    from autocompress.study import Study
    from autocompress.tables import Row

app = typer.Typer(
    name="autocompress", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help="Search for small and fast versions of a text model, under constraints.",
)  # fmt: skip


def _model_name(name: str | None) -> str | None:
    """Checked before a search of hours, not after it."""
    if name is not None:
        from autocompress.tracking.registry import checked_name

        checked_name(name)
    return name


SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="the search space")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a study's name or folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON alone")]
Trials = Annotated[int | None, typer.Option(min=1, help="recipes to train in all, over every resume")]
Timeout = Annotated[str | None, typer.Option(metavar="30m", help="stop after this time: 90s, 30m, 2h")]
Workers = Annotated[int, typer.Option(min=1, help="trials at once, each with its share of the threads, or a GPU")]
TrialTimeout = Annotated[str | None, typer.Option(metavar="10m", help="a trial that trains for longer fails")]
Register = Annotated[str | None, typer.Option(metavar="NAME", callback=_model_name, help="also a model in MLflow")]
Rule = Annotated[str, typer.Option(help="which of the front: best_score, fastest, smallest, knee")]

_EXIT = {ConfigError: 2, NothingFeasible: 3, Paused: 4}


def main() -> None:
    """The console script: our errors become one sentence and an exit code."""
    try:
        app()
    except AutocompressError as error:
        print(error, file=sys.stderr)
        sys.exit(next((code for kind, code in _EXIT.items() if isinstance(error, kind)), 1))


@app.command()
def search(
    space: SpaceFile, trials: Trials = None, timeout: Timeout = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="the study's name, else the file's")] = None,
    rule: Rule = "knee",
    to: Annotated[Path | None, typer.Option(help="where the chosen model goes; exported/STUDY if left out")] = None,
    workers: Workers = 1, trial_timeout: TrialTimeout = None, register: Register = None,
) -> None:  # fmt: skip
    """Run a search. On a study that exists it goes on where it stopped."""
    from autocompress.study import Study

    _search(Study.create(space, study), trials, timeout, rule, to, workers, trial_timeout, register)


@app.command()
def resume(
    study: StudyName, trials: Trials = None, timeout: Timeout = None, rule: Rule = "knee", to: Path | None = None,
    workers: Workers = 1, trial_timeout: TrialTimeout = None, register: Register = None,
) -> None:  # fmt: skip
    """Go on with a study, from its own copy of its space."""
    from autocompress.study import Study

    _search(Study.open(study), trials, timeout, rule, to, workers, trial_timeout, register)


def _search(
    study: Study, trials: int | None, timeout: str | None, rule: str, to: Path | None, workers: int,
    trial_timeout: str | None, register: str | None,
) -> None:  # fmt: skip
    """Search under a display, then show the front and export the chosen one."""
    from rich.console import Console

    from autocompress.display import Display

    console = Console()
    budget, charged = trials or study.space.search.trials, study.charged()
    seconds, limit = _seconds("--timeout", timeout) or float("inf"), _seconds("--trial-timeout", trial_timeout)
    if charged >= budget:
        console.print(
            f"The study {study.name!r} has its {budget} trials already. --trials {charged + 20} would add 20."
        )
    _heed_signals()
    try:
        with Display(console, budget, study.trials) as display:
            reason = study.run(trials, seconds, display, workers, limit)
    except (KeyboardInterrupt, Paused) as error:
        print(f"\n{_kept(study, trials, workers)}", file=sys.stderr)
        if isinstance(error, Paused):
            raise
        sys.exit(130)
    if reason:
        console.print(f"The search ended early: {reason}.")
    _conclude(study, console, rule, to, register)


def _conclude(study: Study, console: Any, rule: str, to: Path | None, register: str | None) -> None:
    """The front as a table, the chosen model as a folder, and the next lines to type."""
    from autocompress.tables import FRONT_COLUMNS, front_rows

    assert study.baseline
    _print_table(console, FRONT_COLUMNS, front_rows(study.baseline, study.front), title=f"The front of {study.name}")
    best, to = study.best(rule), to or Path("exported") / study.name
    scores = study.judged(best)
    study.export(to, best.number)
    console.print(
        f"\nChosen by {rule}: {best.label}. On the untouched test split it scores {scores['test_score']:.3f}, "
        f"the baseline {scores['baseline_test_score']:.3f}. It is in {to}/\n\n"
        f"  autocompress predict {to} \"some text\"\n"
        f"  autocompress resume {study.name} --trials {study.charged() + 20}\n"
        f"  autocompress ui {study.name}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    if register:
        print(f"\n{study.register(to, register, best.number)}")


@app.command()
def show(space: SpaceFile, as_json: Json = False) -> None:
    """The filled space: every knob with what it is searched over."""
    from autocompress.space import SearchSpace, to_yaml

    filled = SearchSpace.load(space).dump()
    print(json.dumps(filled, indent=2) if as_json else to_yaml(filled))


@app.command()
def validate(space: SpaceFile) -> None:
    """Check a space and run nothing."""
    from autocompress.space import SearchSpace

    loaded = SearchSpace.load(space)
    size = "endlessly many" if loaded.size is None else f"{loaded.size:,}"
    print(f"{space}: in order. {size} recipes, {len(loaded.steps)} steps, {len(loaded.anchors)} anchors.")


@app.command()
def schema() -> None:
    """The JSON schema of search spaces, for editors."""
    from autocompress.language.schema import schema

    print(json.dumps(schema(), indent=2))


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="one method's card")] = None, as_json: Json = False
) -> None:
    """The catalogue, or one method's card."""
    from autocompress import catalogue

    if name:
        print(json.dumps(catalogue.entry(name), indent=2) if as_json else catalogue.card(name))
    elif as_json:
        print(json.dumps(catalogue.entries(), indent=2))
    else:
        rows = [(e["family"], e["name"], e["pays"]) for e in catalogue.entries()]
        _print_table(_console(), ("family", "method", "when it pays"), rows)


@app.command()
def studies(as_json: Json = False) -> None:
    """Every study in studies/."""
    from autocompress.study import Study, known_studies

    rows = [Study.open(name).row() for name in known_studies()]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        columns = ("study", "model", "trained", "front", "created")
        _print_table(_console(), columns, [tuple(str(row[c]) for c in columns) for row in rows])


@app.command()
def trials(
    study: StudyName, as_json: Json = False,
    refused: Annotated[bool, typer.Option("--refused", help="the refused and repeated recipes instead")] = False,
) -> None:  # fmt: skip
    """The trials of a study, with front and constraint marks."""
    from autocompress.study import Study
    from autocompress.tables import TRIAL_COLUMNS, trial_rows

    shown = Study.open(study).listed(refused=refused)
    if as_json:
        print(json.dumps([trial.row() for trial in shown], indent=2))
    else:
        _print_table(_console(), TRIAL_COLUMNS, trial_rows(shown))


@app.command(context_settings={"ignore_unknown_options": True})  # -1 is the baseline, not an option
def compare(study: StudyName, a: int, b: int, as_json: Json = False) -> None:
    """Two trials side by side. The baseline is -1."""
    from autocompress.study import Study
    from autocompress.tables import compare_rows

    opened = Study.open(study)
    first, second = opened.trial(a), opened.trial(b)
    if as_json:
        print(json.dumps([first.row(), second.row()], indent=2))
    else:
        _print_table(_console(), ("", first.label, second.label), compare_rows(first, second))


@app.command()
def export(
    study: StudyName, to: Annotated[Path, typer.Option(help="a new folder")],
    trial: Annotated[int | None, typer.Option(help="this trial instead of the rule's")] = None, rule: Rule = "knee",
    register: Register = None,
) -> None:  # fmt: skip
    """Write the winner (or a trial) as a folder that loads and serves."""
    from autocompress.study import Study

    opened = Study.open(study)
    number = opened.best(rule).number if trial is None else trial
    print(f'{opened.export(to, number)}/ is ready: autocompress predict {to} "some text"')
    if register:
        print(f"\n{opened.register(to, register, number)}")


@app.command()
def predict(folder: Path, texts: list[str], as_json: Json = False) -> None:
    """Run an exported model on texts."""
    from autocompress.exported import pipeline

    answers = pipeline(folder)(texts)
    if as_json:
        print(json.dumps(answers, indent=2))
    else:
        _print_table(_console(), ("label", "probability", "text"),
                     [(a["label"], f"{a['score']:.3f}", t) for a, t in zip(answers, texts, strict=True)])  # fmt: skip


@app.command()
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
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        rows = [check_row(check.quantity, check.stored, check.now, check.verdict) for check in checks]
        _print_table(_console(), CHECK_COLUMNS, rows)
    if any(check.agrees is False for check in checks):
        sys.exit(1)


@app.command()
def sync(study: StudyName) -> None:
    """Log to MLflow what it missed while it did not answer."""
    from autocompress.study import Study

    print(f"{Study.open(study).sync()} holds the study {study!r}.")


@app.command()
def ui(
    study: StudyName, port: Annotated[int | None, typer.Option(help="5000, or a free one, if left out")] = None
) -> None:
    """MLflow's web pages on this study, at 127.0.0.1."""
    from autocompress.study import Study

    _heed_signals()
    Study.open(study).serve_ui(port)


def _kept(study: Study, trials: int | None, workers: int) -> str:
    more = (f" --trials {trials}" if trials else "") + (f" --workers {workers}" if workers > 1 else "")
    return (
        f"Stopped. {study.charged()} trained trials are kept in {os.path.relpath(study.folder)}; "
        f"what was under way starts again from its recipe.\n  autocompress resume {study.name}{more}"
    )


def _heed_signals() -> None:
    """SIGTERM is an interrupt like SIGINT; and SIGINT is one even where a shell started us in the background."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _seconds(option: str, text: str | None) -> float | None:
    """`90s`, `30m`, `2h` or plain seconds."""
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    number = text[:-1] if unit else text
    if not number.replace(".", "", 1).isdigit():
        raise ConfigError(f"{option}: it should be a time such as 90s, 30m or 2h. Got {text!r}.")
    return float(number) * (unit or 1)


def _console() -> Any:
    from rich.console import Console

    return Console()


def _print_table(console: Any, columns: Row, rows: Sequence[Row], title: str | None = None) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
