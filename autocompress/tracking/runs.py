"""A study as MLflow should show it: one run for the study, one for every evaluated trial. Pure data, no MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autocompress.engine.trial import Trial
from autocompress.space.axes import Axes
from autocompress.trials.job import BASELINE

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Point = tuple[str, float, int]  # metric, value, step

_LINES = ",\n"
_UNCHARGED = ("refused", "duplicate")
_ENDED = ("complete", "stopped", "failed")
STUDY = "study"  # the key of the study's own run; a trial's key is its number


@dataclass(frozen=True)
class StudyView:
    """What tracking shows of a study besides its trials."""

    id: str  # made once, with the study: studies of equal names may share a database
    name: str
    experiment: str  # one task, its data and one target: all runs of an experiment are comparable
    identity: str = ""  # of the experiment, whatever it is called
    formerly: str = ""  # what an older version called it: a study that began there stays there
    description: str = ""  # markdown: constraints, baseline and front
    tags: dict[str, str] = field(default_factory=dict)
    axes: Axes | None = None  # what the parameters of a trial's run are called; without: as the sampler calls them
    params: dict[str, Any] = field(default_factory=dict)  # what never changes: MLflow keeps the first value of a param
    artifacts: tuple[Path, ...] = ()
    curve: Path | None = None  # of the search
    status: Status = "RUNNING"  # anything else is the last sync of this process: nothing stays RUNNING


@dataclass(frozen=True)
class Run:
    """What one run should hold."""

    name: str
    status: Status
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    artifacts: dict[str, bytes]
    curve: Path | None = None
    seconds: float = 0.0  # how long it took before it was first seen


def is_evaluated(trial: Trial) -> bool:
    """Whether it has a run of its own: once it trains. The others are one table, and a rehearsal is nothing yet."""
    return trial.state in _ENDED or (trial.state == "running" and bool(trial.measurement or trial.predicted))


def is_uncharged(trial: Trial) -> bool:
    """Whether it was not trained, and is a row of one table."""
    return trial.state in _UNCHARGED


def study_run(view: StudyView, trials: Iterable[Trial], *, table: bool = True) -> Run:
    """The parent run: the study's constants, its story and its files. `table`: with that of the untrained trials."""
    artifacts = {path.name: path.read_bytes() for path in view.artifacts if path.is_file()}
    tags = {"mlflow.note.content": view.description, **view.tags}
    if table and (refused := [trial for trial in trials if is_uncharged(trial)]):
        artifacts["refused.json"] = _table(refused)
        tags["mlflow.loggedArtifacts"] = '[{"path": "refused.json", "type": "table"}]'  # shown as a table, not as text
    return Run(view.name, view.status, _tags(view, STUDY, tags), _params(view.params), {}, artifacts, view.curve)


def trial_run(view: StudyView, trial: Trial, folder: Path | None, parent: str) -> Run:
    """The run of one evaluated trial, or of the baseline, under the study's."""
    metrics = {_allowed(name): value for name, value in trial.measurement.items()}
    metrics |= _margins(trial.violations) | {f"rung_score/{share}": score for share, score in trial.rungs.items()}
    metrics |= {f"seconds/{_allowed(stage)}": seconds for stage, seconds in trial.seconds.items()}
    artifacts = {"recipe.json": _json(trial.recipe.dump())}
    artifacts |= {"measurement.json": _json(trial.measurement)} if trial.measurement else {}
    artifacts |= {"traceback.txt": trial.traceback.encode()} if trial.traceback else {}
    return Run(
        name=trial.label,
        status=_status(view, trial),
        tags=_tags(
            view, "baseline" if trial.number == BASELINE else "trial", _facts(trial) | {"mlflow.parentRunId": parent}
        ),
        params=_params(placed(view, trial)),
        metrics={name: _readable(value) for name, value in metrics.items() if math.isfinite(value)},
        artifacts=artifacts,
        curve=folder / "curve.jsonl" if folder else None,
        seconds=sum(trial.seconds.values()),
    )


def placed(view: StudyView, trial: Trial) -> dict[str, Any]:
    """Where the trial's recipe stands on the axes of its space, in digits that a table has room for."""
    values = trial.params if view.axes is None else view.axes.values(trial.params)
    return {name: _short(value) if isinstance(value, float) else value for name, value in values.items()}


def points(curve: Path | None, skip: int) -> tuple[list[Point], int]:
    """The points of a curve after its first `skip` lines, and how many lines it has. A plain name is of a training."""
    lines = curve.read_text().splitlines(keepends=True) if curve and curve.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]  # the last line may still be being written
    found = [json.loads(line) for line in whole[skip:]]
    values = ((k, float(v), int(row["step"])) for row in found for k, v in row.items() if k != "step")
    named = ((_allowed(k if "/" in k else f"train/{k}"), v, step) for k, v, step in values)
    return [point for point in named if math.isfinite(point[1])], len(whole)


def _status(view: StudyView, trial: Trial) -> Status:
    if trial.state == "running":  # without a search nothing runs; a resumed one sets it back
        return "RUNNING" if view.status == "RUNNING" else "KILLED"
    return "FAILED" if trial.state == "failed" else "FINISHED"


def _margins(violations: dict[str, float]) -> dict[str, float]:
    """Shares of the limits that are left, by quantity; by the whole constraint where two limit the same quantity."""
    quantities = [text.split()[0] for text in violations]
    names = [q if quantities.count(q) == 1 else text for q, text in zip(quantities, violations, strict=True)]
    return {f"constraint/{_allowed(name)}": -broken for name, broken in zip(names, violations.values(), strict=True)}


def _readable(value: float) -> float:
    """Six digits (of counts, all): MLflow's tables show whatever there is. measurement.json has the rest."""
    return value if abs(value) >= 1e6 else float(f"{value:.6g}") + 0.0  # + 0.0: no -0


def _short(value: float) -> float:
    """Four digits. recipe.json has all."""
    return float(f"{value:.4g}")


def _facts(trial: Trial) -> dict[str, str]:
    return {
        "autocompress.trial": str(trial.number),
        "autocompress.state": trial.state,
        "autocompress.recipe": trial.recipe.key,
        "autocompress.feasible": str(trial.feasible).lower(),
        "autocompress.front": str(trial.front).lower(),
        "autocompress.reason": trial.reason,
        "autocompress.methods": ", ".join(dict.fromkeys(method.name for method in trial.recipe)),
        "autocompress.variant_of": "" if trial.variant_of is None else str(trial.variant_of),
    }


def _tags(view: StudyView, kind: str, more: dict[str, str]) -> dict[str, str]:
    tags = {"autocompress.kind": kind, "autocompress.study": view.name, "autocompress.study_id": view.id}
    return {_allowed(name): value[:8000] for name, value in (tags | more).items()}


def _params(params: dict[str, Any]) -> dict[str, str]:
    text = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in params.items()}
    return {_allowed(name): value[:6000] for name, value in text.items()}


def _allowed(name: str) -> str:
    """`name` as MLflow takes it: letters, digits, `/ . : - _` and space; a comparison is spelled out."""
    words = name.replace("<=", " at most ").replace(">=", " at least ").replace("*", " x ")
    return " ".join(re.sub(r"[^\w/.: -]", "_", words).split())[:250]


def _table(trials: list[Trial]) -> bytes:
    columns = ["number", "recipe", "state", "reason", "violations"]
    rows = [json.dumps([t.number, t.recipe.title, t.state, t.reason or _twin(t), _broken(t)]) for t in trials]
    return f'{{"columns": {json.dumps(columns)}, "data": [\n{_LINES.join(rows)}\n]}}\n'.encode()


def _twin(trial: Trial) -> str:
    return "" if trial.duplicate_of is None else f"the same recipe as trial {trial.duplicate_of}"


def _broken(trial: Trial) -> str:
    return ", ".join(f"{name}: {share:+.0%}" for name, share in trial.violations.items() if share > 0)


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=2, default=str).encode()
