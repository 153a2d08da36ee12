"""Which experiment of MLflow a study belongs to: one for all studies of a task on the same data and the same target."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.engine.state import StudyState
from autocompress.space.recipe import digest
from autocompress.space.search_space import SearchSpace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from autocompress.tracking.runs import StudyView

NAMED = "autocompress.experiment"  # a tag with what an experiment is of: a person may rename it
_SAYS_NOTHING = ("train", "training", "data", "dataset", "datasets")
_DATA = ("labels", "training texts", "validation texts", "test texts")


def named(study: StudyState) -> dict[str, str]:
    """The experiment's name, what it is of whatever it is called, and the name that an older version gave it.

    The names of files say little: `train.csv` is called after its folder, and the first digits of what the texts and
    labels are make two of one name two. A study that did not write down what its data is keeps its older name.
    """
    space, made_of = study.brief, study.record.get("inputs", {})
    where, older = _place(space), _older(space)
    if not made_of:
        return {"experiment": older}
    texts = digest([made_of.get(name) for name in _DATA])
    task = space.task.kind
    return {
        "experiment": f"{task} · {data_name(study)} ({texts[:6]}) on {where}",
        "identity": digest([task, texts, where]),
        "formerly": older,
    }


def data_name(study: StudyState) -> str:
    """What a person calls the data, without a slash: MLflow's pages cut a name there."""
    data = study.brief.task.data
    if isinstance(data, str):
        return data.replace("/", " ")
    file = study.root / data["train"]
    words = [word for word in re.split(r"[-_. ]+", file.stem) if word.lower() not in (*_SAYS_NOTHING, "")]
    folders = [part for part in file.resolve().parent.parts if part.lower() not in _SAYS_NOTHING]
    return "_".join(words) or folders[-1].strip("/") or "texts"


def experiment_of(client: MlflowClient, view: StudyView) -> Experiment | None:
    """The study's experiment by its name, or by what it was once called; it may be a deleted one."""
    if view.formerly and (older := _find(client, view.formerly, _mark(view.formerly))):
        from mlflow.entities import ViewType

        own = f"tags.`autocompress.study_id` = '{view.id}'"
        if client.search_runs([older.experiment_id], own, ViewType.ALL, max_results=1):
            return older
    return _find(client, view.experiment, mark(view))


def mark(view: StudyView) -> str:
    """What the experiment is known by."""
    return view.identity or _mark(view.experiment)


def _find(client: MlflowClient, name: str, known_by: str) -> Experiment | None:
    from mlflow.entities import ViewType

    if found := client.get_experiment_by_name(name):
        return found
    renamed = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{NAMED}` = '{known_by}'")
    return min(renamed, key=lambda each: each.lifecycle_stage == "deleted", default=None)


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _place(space: SearchSpace) -> str:
    target = space.target
    where = f"{target.runs_in} {target.device}, {target.threads} thread{'s' * (target.threads > 1)}"
    return f"{where}, {target.batch_size} x {target.sequence_length} tokens"


def _older(space: SearchSpace) -> str:
    """By the name of a file alone."""
    data: Any = space.task.data
    name = data if isinstance(data, str) else Path(data["train"]).stem
    return f"{name.replace('/', ' ')} on {_place(space)}"
