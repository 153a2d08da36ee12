"""What a study has found, in markdown: MLflow shows it as the description of the study's run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import NothingFeasible
from autocompress.report.tables import FRONT_COLUMNS, Row, footnote, front_rows, markdown
from autocompress.tracking.experiments import data_name

_ROWS = 12  # of the front: MLflow takes so many letters


def story(study: StudyState, baseline: Trial, trials: Iterable[Trial], *, ended: bool) -> str:
    """The winner, the front, the commands that come next and the goals; MLflow folds away all but the first lines.

    `ended`: no search is under way.
    """
    known = list(trials)
    front = sorted((t for t in known if t.front), key=lambda t: -t.measurement["score"])
    winner = _winner(study) if ended and front else None
    parts = chain(
        _first(study, baseline, known, winner),
        _front(baseline, front),
        _next(study.name, known, winner),
        _goals(study, baseline),
    )
    return "\n\n".join(filter(None, parts))


def _first(study: StudyState, baseline: Trial, trials: list[Trial], winner: Trial | None) -> Iterator[str]:
    space, target = study.brief, study.brief.target
    if winner:
        m, b = winner.measurement, baseline.measurement
        yield (
            f"**{winner.label}** wins by {space.search.rule}: score {m['score']:.3f} where the baseline has "
            f"{b['score']:.3f}, {m['speedup']:.2f} times as fast, {b['size_mb'] / m['size_mb']:.2f} times smaller."
        )
    yield (
        f"`{space.model}` compressed for {space.task.kind} on **{data_name(study)}**, for {target.runs_in} on "
        f"{target.device} with {target.threads} thread{'s' * (target.threads > 1)} and {target.batch_size} x "
        f"{target.sequence_length} tokens. The score is {space.task.metric}."
    )
    kinds = {
        "trained": sum(t.charged for t in trials),
        "from the training of another": sum(t.variant_of is not None and t.state == "complete" for t in trials),
        "refused before any training": sum(t.state == "refused" for t in trials),
        "failed": sum(t.state == "failed" for t in trials),
        "feasible": sum(t.feasible for t in trials),
    }
    yield f"Recipes: {', '.join(f'{count} {kind}' for kind, count in kinds.items() if count) or 'none yet'}."


def _front(baseline: Trial, front: list[Trial]) -> Iterator[str]:
    if not front:
        yield "No recipe meets every constraint yet."
        return
    yield "### The front"
    yield markdown(*_spaced(FRONT_COLUMNS, front_rows(baseline, front[:_ROWS])))
    more = f"{len(front) - _ROWS} more are on it. " if len(front) > _ROWS else ""
    yield more + "In the table of runs, `" + 'tags."autocompress.front" = "true"' + "` shows the front alone."
    yield footnote(front[:_ROWS])


def _spaced(columns: Row, rows: Iterable[Row]) -> tuple[Row, list[Row]]:
    """With a space after each cell: MLflow's pages leave none between two of them."""
    first, *rest = [tuple(f"{cell}&ensp;" for cell in row) for row in (columns, *rows)]
    return first, rest


def _goals(study: StudyState, baseline: Trial) -> Iterator[str]:
    goals = study.brief.goals
    yield "### Objectives and constraints"
    lines = [f"- {direction} `{name}`" for name, direction in goals.objectives.items()]
    lines += [f"- `{c.text}`: the limit is {c.limit(baseline.measurement):.4g}" for c in goals.constraints]
    yield "\n".join(lines)


def _next(name: str, trials: list[Trial], winner: Trial | None) -> Iterator[str]:
    commands = [f"ui {name} --compare", f"resume {name} --trials {sum(t.charged for t in trials) + 20}"]
    if winner:
        commands = [f"export {name} --to chosen", f"compare {name} -1 {winner.number}", *commands]
    yield "### Next"
    yield "\n".join(["```", *(f"autocompress {command}" for command in commands), "```"])


def _winner(study: StudyState) -> Trial | None:
    with suppress(NothingFeasible):
        return study.best()
    return None
