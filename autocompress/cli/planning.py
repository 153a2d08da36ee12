"""Commands before a study, or without one: a first space, an estimate, one recipe, the installation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autocompress.cli.options import Json, SpaceFile, Timeout, seconds_of
from autocompress.cli.terminal import INTERRUPTED, heed_signals, print_json
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible
from autocompress.tasks.data.pairs import predict_line

if TYPE_CHECKING:
    from autocompress.space.search_space import SearchSpace
    from autocompress.study import Study

_Columns = Annotated[list[str] | None, typer.Option("--text", help="the column of texts; twice for pairs of texts")]
_Label = Annotated[str, typer.Option(help="the column of labels")]
_Validation = Annotated[str, typer.Option(metavar="FILE", help="texts that recipes are compared on")]
_Test = Annotated[str, typer.Option(metavar="FILE", help="texts that judge in the end")]


def init(
    to: Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="the file to write")] = Path("space.yaml"),
    model: Annotated[str | None, typer.Option(help="a hub id, a folder, builtin/minilm")] = None,
    data: Annotated[str | None, typer.Option(help="a file of training texts, or a data set's name")] = None,
    speedup: Annotated[float | None, typer.Option(min=1, help="how many times as fast at least; 1: no limit")] = None,
    device: Annotated[str | None, typer.Option(help="where it will run: cpu, cuda")] = None,
    hours: Annotated[str | None, typer.Option("--time", metavar="2h", help="what the search may take")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads that will serve it")] = 1,
    keep: Annotated[float, typer.Option(min=0, max=1, help="the share of the score to keep")] = 0.97,
    size: Annotated[float | None, typer.Option(min=0, max=1, help="the share of the size it may have at most")] = None,
    validation: _Validation = "", test: _Test = "", text: _Columns = None, label: _Label = "",
) -> None:  # fmt: skip
    """Write a first search space for your model, data and limits. What no option says is asked."""
    from autocompress.planning.first import Wishes, check, first, write
    from autocompress.planning.sentences import sentences

    check(to)
    wishes = Wishes(
        model=_asked(model, "--model", "Which model? A hub id, a folder or builtin/minilm", "builtin/minilm"),
        data=_asked(data, "--data", "Which training texts? A file (.csv, .parquet, ...) or a data set's name", None),
        device=_asked(device, "--device", "Where will it run? cpu or cuda", "cpu"),
        speedup=float(_asked(speedup, "--speedup", "How many times as fast should it be at least?", "2")),
        seconds=seconds_of("--time", _asked(hours, "--time", "How long may the search take?", "1h")),
        threads=threads, keep=keep, size=size, validation=validation, test=test, text=tuple(text or ()), label=label,
    )  # fmt: skip
    with _saying() as say:
        made = first(wishes, to.resolve().parent, say)
        write(made, to)
    print("\n\n".join(sentences(made.estimate, made.space)))
    print(f"\n{to} is written.\n\n  autocompress validate {to}\n  autocompress search {to}")


def plan(space: SpaceFile, as_json: Json = False) -> None:
    """Estimate a search before it begins: hours, disk, memory, and what cannot work."""
    from autocompress.planning.estimate import estimate
    from autocompress.planning.sentences import sentences
    from autocompress.space.search_space import SearchSpace

    loaded = SearchSpace.load(space)
    with _saying() as say:
        found = estimate(loaded, say)
    if as_json:
        print_json(found.model_dump(mode="json") | {"search_seconds": found.search_seconds})
    else:
        print("\n\n".join(sentences(found, loaded)))


def apply(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="a list of steps; an exported recipe.yaml")],
    to: Annotated[Path, typer.Option(help="a new folder")],
    space: Annotated[Path | None, typer.Option(metavar="SPACE.yaml", help="take its model, task and target")] = None,
    model: Annotated[str, typer.Option(help="a hub id, a folder, builtin/minilm")] = "",
    data: Annotated[str, typer.Option(help="a file of training texts, or a data set's name")] = "",
    validation: _Validation = "", test: _Test = "", text: _Columns = None, label: _Label = "",
    timeout: Timeout = None,
) -> None:  # fmt: skip
    """Carry out one recipe without a search, and write the model as a folder that loads and serves."""
    from autocompress.export import files
    from autocompress.planning import columns, one_recipe

    files.check(to)
    task: dict[str, Any] = {}
    if data:
        named = columns.splits(data)
        more = {split: file for split, file in {"validation": validation, "test": test}.items() if file}
        task["data"] = {s: _absolute(f) for s, f in (named | more).items()} if isinstance(named, dict) else named
    task |= {"text": text} if text else {}
    task |= {"label": label} if label else {}
    wanted = one_recipe.space_of(recipe, space, {"model": _absolute(model), "task": task}, Path())
    _carry_out(wanted, one_recipe.study_name(wanted, recipe), to, timeout)


def doctor(as_json: Json = False) -> None:
    """Check the installation. Exit code 1 if something is wrong."""
    from autocompress.planning.doctor import findings

    found = findings()
    if as_json:
        print_json([finding._asdict() for finding in found])
    else:
        marks = {"well": " ", "note": "-", "wrong": "!"}
        for finding in found:
            print(f"{marks[finding.state]} {finding.what}" + (f"\n    {finding.cure}" if finding.cure else ""))
    if any(finding.state == "wrong" for finding in found):
        sys.exit(1)


def _carry_out(space: SearchSpace, name: str, to: Path, timeout: str | None) -> None:
    """As a study of one trial: what is interrupted goes on, and what is done is not done again."""
    from rich.console import Console

    from autocompress.report.terminal.display import Display
    from autocompress.study import Study

    study, console = Study.of(space, name), Console()
    seconds = float("inf") if timeout is None else seconds_of("--timeout", timeout)
    heed_signals()
    try:
        with Display(console, 1, study.trials) as display, suppress(NothingFeasible):
            study.run(timeout=seconds, observer=display)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from where it was put aside.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    done = next((trial for trial in study.trials if trial.state == "complete"), None)
    if done is None:
        raise AutocompressError(_why_not(study))
    study.export(to, done.number)
    scores, ours, theirs = study.judged(done), done.measurement, study.trial(-1).measurement
    print(
        f"\nOn the untouched test split it scores {scores['test_score']:.3f}, the uncompressed model "
        f"{scores['baseline_test_score']:.3f}. {ours['latency_ms']:.3g} ms instead of {theirs['latency_ms']:.3g}, "
        f"{ours['size_mb']:.3g} MB instead of {theirs['size_mb']:.3g}. It is in {to}/\n\n"
        f"  {predict_line(to, study.space.task.text)}"
    )


def _why_not(study: Study) -> str:
    failed = next((trial for trial in reversed(study.trials) if trial.reason), None)
    if failed is None:
        return "the time is up before the recipe was carried out. The same command goes on from there."
    return f"the recipe could not be carried out: {failed.reason}"


def _absolute(name: str) -> str:
    """A path that exists, from the root of the file system; another name as it is."""
    place = Path(name).expanduser()
    return str(place.resolve()) if name and place.exists() else name


def _asked(given: Any, option: str, question: str, usual: str | None) -> str:
    """What the option says, else what a person wishes."""
    if given is not None:
        return str(given)
    if not sys.stdin.isatty():
        raise ConfigError(f"init: it asks five questions, and there is no terminal to ask at. Give {option} too.")
    return str(typer.prompt(question, default=usual))


@contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    """What goes on, in a line that is written over; without a terminal nothing, for it takes a minute or two."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda said: None
        return
    with console.status("") as status:
        yield lambda said: status.update(said)
