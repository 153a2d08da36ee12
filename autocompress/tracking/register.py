"""The winner, registered: an exported folder as a version of a model in MLflow, and what a person reads of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import NothingFeasible, Paused
from autocompress.export.model_card import figures
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving.continuation import USUAL
from autocompress.serving.folder import read_measured, read_serving
from autocompress.serving.pipeline import PACKAGES
from autocompress.tracking import registry
from autocompress.tracking.registry import Card, Registered

RunOf = Callable[[Trial], tuple[str, str]]


def register(
    study: StudyState, trial: Trial, folder: Path, name: str, run_of: RunOf, *, anyway: bool = False
) -> Registered:  # fmt: skip
    """Make `folder`, which `trial` was exported to, the champion of the model `name`. `run_of`: its run in MLflow.

    Raises `NothingFeasible` for a trial that breaks limits of its study, unless it is wanted `anyway`, and `Paused` for
    trouble at MLflow. The folder is kept.
    """
    registry.checked_name(name)
    again = f"autocompress export {study.name} --trial {trial.number} --to {folder} --register {name}"
    if not anyway and (broken := study.broken(trial)):
        raise NothingFeasible(f"{trial.label} breaks {'; '.join(broken)}. It was not registered: {again}")
    card = _card(study, trial, folder)
    try:
        uri, run = run_of(trial)
        return registry.register(uri, run, folder, name, card)
    except Paused as error:
        raise Paused(f"{folder}/ is exported, but it is not registered: {error} Mend that, then: {again}") from error


def _card(study: StudyState, trial: Trial, folder: Path) -> Card:
    serving, measured = read_serving(folder), read_measured(folder)
    said = [
        f"`{study.brief.model}`, compressed: {trial.recipe.title}. Trial {trial.number} of the study `{study.name}`.",
        figures(measured),
        f"Latency is that of {serving.target.batch_size} x {serving.target.sequence_length} tokens on "
        f"{measured.machine['cpu']}. The source run holds the recipe, `artifacts/` the exported folder.",
    ]
    tags = {"autocompress.study": study.name, "autocompress.trial": str(trial.number)}
    packages = (*PACKAGES, *find_runtime(serving.target.runtime).packages)
    options = {"max_new_tokens": USUAL} if serving.kind.continues else {}
    return Card("\n\n".join(said), tags, serving.columns, serving.kind.columns_of_answers, packages, options)
