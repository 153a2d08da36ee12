"""The command on what is kept between searches."""

from __future__ import annotations

from typing import Annotated

import typer

from autocompress.cli.options import Json
from autocompress.cli.terminal import print_json, print_table
from autocompress.errors import ConfigError, nearest


def cache(
    kind: Annotated[str | None, typer.Argument(help="only what is kept of this kind")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="delete it, but for what a search uses right now")] = False,
    as_json: Json = False,
) -> None:
    """What is kept from one search for the next: trained teachers, rehearsals. Shown, or deleted."""
    from autocompress.machine import cache as kept
    from autocompress.machine.eviction import limit_bytes
    from autocompress.report.tables import USAGE_COLUMNS, bytes_text, usage_rows

    known = {row.kind: row for row in kept.usage()}
    if kind and kind not in known:
        hint = nearest(kind, known, otherwise="Kinds") if known else "It is empty."
        raise ConfigError(f"the cache holds nothing of the kind {kind!r}. {hint}")
    freed = kept.clear(kind) if clear else None
    shown = [row for row in kept.usage() if kind in (None, row.kind)]
    root, limit = kept.cache_root(), limit_bytes()
    if as_json:
        rows = [row._asdict() for row in shown]
        print_json({"folder": str(root), "limit": limit, "freed": freed, "kinds": rows})
        return
    if shown:
        print_table(USAGE_COLUMNS, usage_rows(shown))
    if freed is not None:
        print(f"{bytes_text(freed)} freed." + (" What is in use stays." if shown else ""))
    held = bytes_text(sum(row.bytes for row in shown))
    print(f"{root} holds {held}, {bytes_text(limit)} at most (AUTOCOMPRESS_CACHE_GB).")
