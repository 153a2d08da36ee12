"""What commands write to the terminal, and how they are interrupted."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from autocompress.engine.trial import Trial
    from autocompress.report.tables import Row


INTERRUPTED = 130  # the exit code of a command that SIGINT or SIGTERM ended


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


def print_table(
    columns: Row, rows: Sequence[Row], title: str | None = None, on: Console | None = None, note: str = ""
) -> None:  # fmt: skip
    """For people, on this console or on standard output. `note`: a line below the table."""
    from rich.console import Console

    from autocompress.cli.table import PlainTable

    console = on or Console()
    if title:
        console.print(title, style="italic", markup=False, highlight=False)
    console.print(PlainTable(columns, [[plain(cell) for cell in row] for row in rows]), crop=False)
    if note:
        console.print(note, markup=False, highlight=False)


def heed_signals() -> None:
    """SIGTERM is an interrupt like SIGINT; and SIGINT is one even where a shell started us in the background."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
