"""The command line. Every command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from autocompress.cli import caches, folders, planning, profiling, searching, spaces, studies
from autocompress.cli.examples import epilog
from autocompress.cli.terminal import INTERRUPTED, leave_at_once, plain
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible, Paused
from autocompress.machine import disk, silence

__all__ = ["app", "main"]

_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {  # as `--help` lists them; the function's name is the command
    "Begin": (planning.doctor, planning.init, planning.plan, planning.apply),
    "Search": (searching.search, searching.resume),
    "Models": (profiling.profile,),
    "Search spaces": (spaces.show, spaces.validate, spaces.schema, spaces.methods),
    "Studies": (
        studies.studies,
        studies.trials,
        studies.compare,
        studies.tabulate,
        studies.report,
        studies.ui,
        studies.sync,
    ),
    "Exported models": (folders.export, folders.predict, folders.verify),
    "Cache": (caches.cache,),
}
_NEGATIVE_NUMBERS = {studies.compare}  # -1 is the baseline, not an option
_EXIT = {ConfigError: 2, NothingFeasible: 3, Paused: 4}


class _Commands(TyperGroup):
    """Lists them in sections, as plain text: typer's panels would take longer to load than all else that help needs."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for section, functions in _COMMANDS.items():
            commands = [self.commands[function.__name__] for function in functions]
            with formatter.section(section):
                formatter.write_dl([(each.name, (each.help or "").partition("\n\n")[0]) for each in commands])


app = typer.Typer(
    name="autocompress", cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False,
    rich_markup_mode=None, help="Search for small and fast versions of a text model, under constraints.",
)  # fmt: skip
for _commands in _COMMANDS.values():
    for _command in _commands:
        _settings = {"ignore_unknown_options": _command in _NEGATIVE_NUMBERS}
        app.command(context_settings=_settings, epilog=epilog(_command.__name__))(_command)


def main() -> None:
    """The console script: our errors become one sentence and an exit code. Interrupted, the process ends at once."""
    silence.say_warnings_plainly()
    try:
        with disk.pausing():
            app(prog_name="autocompress")  # also where it is started with `python -m`
    except AutocompressError as error:
        print(plain(str(error)), file=sys.stderr)
        sys.exit(next((code for kind, code in _EXIT.items() if isinstance(error, kind)), 1))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            leave_at_once()
        raise
