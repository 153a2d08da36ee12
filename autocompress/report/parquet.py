"""A study as one table: every recipe that was tried, and what is known of it, in a parquet file.

For analyses, and to replay a search without training: a row holds what each rung scored and cost. The file's schema
carries, as JSON under the key `autocompress`, the space, the baseline's measurement and where all was measured.

Columns: number, state, title, recipe (JSON text), training (equal where the training is), variant_of, feasible,
front, reason, ended; `rung_<share>` and `rung_seconds_<share>`, the score at a share of the training and the seconds of
training steps by then (share 1: all of them); `seconds_<stage>`; and what was measured by its own name. What is not
known is null. Repeated recipes are left out. A variant's training columns are those of the trial it was trained in.
A training that the cache had already knows only the rungs it was scored at then.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial

if TYPE_CHECKING:
    import pyarrow

_EVALUATED = ("complete", "stopped", "failed", "refused")


def tabulate(study: StudyState, to: Path) -> int:
    """Write the file; returns how many rows it has."""
    from pyarrow import parquet

    rows = table(study.trials)
    facts = {"autocompress": json.dumps(_facts(study))}
    to.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(_columns(rows).replace_schema_metadata(facts), to)
    return len(rows)


def _columns(rows: list[dict[str, Any]]) -> pyarrow.Table:
    """The rows as pyarrow has them, by way of JSON: of lists it would ask pandas whether they are columns of its own,
    and to load that takes longer than all else that is done here.
    """
    import pyarrow
    from pyarrow.json import ParseOptions, read_json

    types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    schema = pyarrow.schema(
        (name, next((types[t] for t in types if t in found), pyarrow.null())) for name, found in kinds.items()
    )
    lines = io.BytesIO("\n".join(map(json.dumps, rows)).encode())
    return read_json(lines, parse_options=ParseOptions(explicit_schema=schema)) if rows else schema.empty_table()


def table(trials: list[Trial]) -> list[dict[str, Any]]:
    """The rows, in the order of the trials' numbers. A key that a row lacks is null in the file."""
    by_number = {t.number: t for t in trials}
    return [_row(t, by_number.get(t.number if t.variant_of is None else t.variant_of, t))
            for t in trials if t.state in _EVALUATED]  # fmt: skip


def _row(trial: Trial, trained: Trial) -> dict[str, Any]:
    """`trained`: the trial whose training this is."""
    return {
        "number": trial.number, "state": trial.state, "title": trial.recipe.title,
        "recipe": json.dumps(trial.recipe.dump()), "training": trial.recipe.trained.key,
        "variant_of": trial.variant_of, "feasible": trial.feasible, "front": trial.front, "reason": trial.reason,
        "ended": trial.ended, **_named("rung", trained.rungs), **_named("rung_seconds", trained.rung_seconds),
        **_named("seconds", trial.seconds), **trial.measurement,
    }  # fmt: skip


def _named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _facts(study: StudyState) -> dict[str, Any]:
    """What the rows are about."""
    record = study.record
    return {
        "study": study.name, "space": study.brief.dump(), "machine": record["machine"], "versions": record["versions"],
        "baseline": study.baseline.measurement if study.baseline else {},
    }  # fmt: skip
