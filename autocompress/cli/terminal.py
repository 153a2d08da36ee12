"""What commands write to the terminal, and how they are interrupted."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

    from autocompress.engine.trial import Trial
    from autocompress.report.tables import Row
    from autocompress.report.terminal.sheet import Sheet

INTERRUPTED = 130  # the exit code after Ctrl-C or SIGTERM


def leave_at_once() -> NoReturn:
    """End an interrupted process as soon as all is said and done that is due at its end.

    Its objects are not taken apart one by one: with torch loaded that takes up to 8 s, in which the terminal hangs.
    """
    atexit._run_exitfuncs()  # what libraries have to put away; a worker process is gone before this
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(INTERRUPTED)


def print_json(data: Any) -> None:
    """On standard output, where nothing else is then."""
    print(json.dumps(data, indent=2))


def plain(text: str) -> str:
    """With its control characters spelt out: what a stranger's file says must not steer the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def not_kept(trial: Trial, broken: Sequence[str]) -> str:
    """What to say of the nearest model where nothing keeps every limit by its confirmed figures."""
    return f"no finalist keeps every limit when it is measured again. The nearest, {trial.label}, breaks " + "; ".join(
        broken
    )


def print_table(columns: Row, rows: Sequence[Row], on: Console | None = None) -> None:
    """Plain texts for people, on this console or on standard output."""
    from autocompress.report.terminal.sheet import Column, Sheet

    print_sheet(Sheet(tuple(map(Column, columns)), rows), on)


def print_sheet(sheet: Sheet, on: Console | None = None, more: str = "--json") -> None:
    """`more`: what shows the columns that there is no room for."""
    from dataclasses import replace

    from rich.console import Console

    from autocompress.report.terminal.table import PlainTable

    rows = [[plain(cell) if isinstance(cell, str) else tuple(map(plain, cell)) for cell in row] for row in sheet.rows]
    (on or Console()).print(PlainTable(replace(sheet, rows=rows), more), crop=False)


def heed_signals() -> None:
    """SIGTERM is an interrupt like SIGINT; and SIGINT is one even where a shell started us in the background."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
