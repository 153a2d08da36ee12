"""What a search has come to, for programs: the shape of `search --json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.engine.trial import Trial
    from autocompress.study import Study


def conclusion(study: Study, ended: str, rule: str, chosen: dict[str, Any] | None = None) -> dict[str, Any]:
    """`ended`: why, if before all trials were done. `chosen`: as `chosen_model` has it; None: nothing is feasible."""
    baseline, front = study.baseline, study.front
    known = study.finalists(rule).known if front else {}
    return {
        "study": study.name, "folder": str(study.folder), "trained": study.charged(),
        "ended": ended or "all of its trials are done",
        "baseline": baseline and baseline.row() | {"measurement": baseline.measurement},
        "front": [trial.row() | {"measurement": known[trial.number]} for trial in front], "chosen": chosen,
    }  # fmt: skip


def chosen_model(study: Study, best: Trial, rule: str, to: Path, scores: dict[str, float]) -> dict[str, Any]:
    """The exported model: which trial it is, where it lies, and its score on the untouched test split."""
    return {
        "number": best.number, "rule": rule, "folder": str(to), **scores,
        "confirmed": best.number in study.confirmed, "breaks": study.broken(best),
    }  # fmt: skip
