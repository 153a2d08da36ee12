"""One study in MLflow: its experiment, and what its runs are known to hold, so that only the difference is written."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from autocompress.engine.trial import Trial
from autocompress.tracking.connection import artifact_folder, connect
from autocompress.tracking.experiments import NAMED, experiment_of, mark
from autocompress.tracking.runs import (  # fmt: skip
    STUDY,
    Run,
    StudyView,
    is_evaluated,
    is_uncharged,
    placed,
    points,
    study_run,
    trial_run,
)
from autocompress.tracking.trouble import ExperimentDeleted
from autocompress.tracking.views import front_view, table_view, told_by
from autocompress.trials.job import BASELINE

if TYPE_CHECKING:
    pass

FolderOf = Callable[[Trial], Path | None]

_VIEW = "mlflow.sharedViewState."  # begins the tags that MLflow keeps saved views in
FILES = "mlflow.autocompress.files"  # which files a run has; MLflow's pages hide the tags that begin with "mlflow."


@dataclass
class Held:
    """What one run in MLflow is known to hold."""

    id: str
    start: int
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    lines: int = 0  # of the training curve


class StudyRuns:
    """A connection, one study's experiment, and what the study's runs are known to hold."""

    def __init__(self, uri: str, view: StudyView) -> None:
        self.client = connect(uri)
        self.experiment = self._found_experiment(uri, view)
        self.held: dict[str, Held] = {}  # by STUDY or the trial's number
        self._refused = 0  # trials in the table of those that were not trained
        self._settled: dict[str, Trial] = {}  # what is written of trials that have ended: compared at no cost
        self._learn(view)

    def sync(self, view: StudyView, trials: list[Trial], folder_of: FolderOf) -> None:
        evaluated = {str(trial.number): trial for trial in trials if is_evaluated(trial)}
        first = STUDY not in self.held
        self._write(STUDY, study_run(view, trials, table=self._wants_table(view, trials)))
        if first:  # and never again: a person may change the view
            table = table_view(view, self.held[STUDY].start)
            self.client.set_experiment_tag(self.experiment, f"{_VIEW}{view.id}", table)
        for key, trial in evaluated.items():
            if self._settled.get(key) != trial:
                self._write(key, trial_run(view, trial, folder_of(trial), self.held[STUDY].id))
            if trial.state != "running":
                self._settled[key] = trial
        for key, held in self.held.items():
            if held.status == "RUNNING" and key != STUDY and key not in evaluated:  # a ghost: no such trial
                self.client.set_terminated(held.id, "KILLED")
                held.status = "KILLED"

    def compare(self, view: StudyView, trials: list[Trial]) -> tuple[str, str]:
        """The pages that compare these trials: charts, and everything that is known of them side by side."""
        params = told_by(view, [placed(view, trial) for trial in trials])
        key, held = f"{view.id}-front", [self.held[str(trial.number)] for trial in trials]
        saved = front_view(view, params, {name for run in held for name in run.metrics}, self.held[STUDY].start)
        self.client.set_experiment_tag(self.experiment, f"{_VIEW}{key}", saved)
        runs = [run.id for run in (self.held[str(BASELINE)], *held)]
        asked = {"runs": runs, "experiments": [self.experiment]}
        listed = "&".join(f"{name}={quote(json.dumps(ids))}" for name, ids in asked.items())
        charts = f"viewStateShareKey={key}&compareRunsMode=CHART&workflowType=machine_learning"
        return f"#/experiments/{self.experiment}/runs?{charts}", f"#/compare-runs?{listed}"

    def _wants_table(self, view: StudyView, trials: list[Trial]) -> bool:
        """MLflow takes a file as a whole: while the search runs, only once a quarter of it would be new."""
        refused = sum(is_uncharged(trial) for trial in trials)
        wants = view.status != "RUNNING" or refused > 1.25 * self._refused
        self._refused = refused if wants else self._refused
        return wants

    def _found_experiment(self, uri: str, view: StudyView) -> str:
        if found := experiment_of(self.client, view):
            if found.lifecycle_stage == "deleted":
                way_back = f"`autocompress sync {view.name} --restore` brings it back with all it held"
                raise ExperimentDeleted(f"the experiment {found.name!r} was deleted there ({way_back})")
            return str(found.experiment_id)
        location = str(folder) if (folder := artifact_folder(uri)) else None
        # opens on the runs, not on LLM traces
        tags = {"mlflow.experimentKind": "custom_model_development", NAMED: mark(view)}
        return self.client.create_experiment(view.experiment, location, tags)

    def _learn(self, view: StudyView) -> None:
        ours, token = f"tags.`autocompress.study_id` = '{view.id}'", None
        while token != "":
            page = self.client.search_runs([self.experiment], ours, order_by=["start_time"], page_token=token)
            for run in page:
                info, data = run.info, run.data
                held = Held(info.run_id, info.start_time, info.status, data.tags, data.params, data.metrics)
                if self.held.setdefault(data.tags.get("autocompress.trial", STUDY), held) is not held:
                    self.client.delete_run(info.run_id)  # made twice: the answer to the first request was lost
            token = page.token or ""

    def _write(self, key: str, run: Run) -> None:
        """Files, then values, then the status: whatever is cut off here is seen as missing and written again."""
        held = self.held.get(key) or self._create(key, run)
        tags = run.tags | self._write_files(held, run.artifacts)
        tags = {name: value for name, value in tags.items() if held.tags.get(name) != value}
        params = {name: value for name, value in run.params.items() if name not in held.params}  # immutable in MLflow
        metrics = {name: value for name, value in run.metrics.items() if held.metrics.get(name) != value}
        # A finished trial's curve is complete. Its points carry the run's start: MLflow drops those it already has.
        found, lines = points(run.curve, held.lines) if held.status == "RUNNING" else ([], held.lines)
        now = int(time.time() * 1000)
        self._log(
            held.id, [(*p, held.start) for p in found] + [(k, v, 0, now) for k, v in metrics.items()], params, tags
        )
        if held.status != run.status and run.status == "RUNNING":
            self.client.update_run(held.id, "RUNNING")
        elif held.status != run.status:
            self.client.set_terminated(held.id, run.status)
        held.tags |= tags
        held.params |= params
        held.metrics |= metrics
        held.lines, held.status = lines, run.status

    def _create(self, key: str, run: Run) -> Held:
        start = int((time.time() - run.seconds) * 1000)
        made = self.client.create_run(self.experiment, start, run.tags, run.name)
        self.held[key] = Held(made.info.run_id, start, "RUNNING", dict(run.tags), {}, {})
        return self.held[key]

    def _write_files(self, held: Held, files: dict[str, bytes]) -> dict[str, str]:
        """Upload the files that changed. Returns the tag by which that is known next time."""
        marks = {name: hashlib.sha256(data).hexdigest()[:8] for name, data in files.items()}
        known = dict(each.rsplit(":", 1) for each in held.tags.get(FILES, "").split())
        changed = [name for name, mark in marks.items() if known.get(name) != mark]
        if changed:
            with tempfile.TemporaryDirectory() as folder:
                for name in changed:
                    (Path(folder) / name).write_bytes(files[name])
                self.client.log_artifacts(held.id, folder)
        return {FILES: " ".join(f"{name}:{mark}" for name, mark in (known | marks).items())}

    def _log(self, run_id: str, metrics: list[Any], params: dict[str, str], tags: dict[str, str]) -> None:
        """One batch, or as many as MLflow's limits ask for: 1,000 entries, of which 100 params and 100 tags."""
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(name, value, when, step) for name, value, step, when in metrics]
        pairs = [Param(name, value) for name, value in params.items()]
        labels = [RunTag(name, value) for name, value in tags.items()]
        while points or pairs or labels:
            self.client.log_batch(run_id, points[:800], pairs[:100], labels)
            points, pairs, labels = points[800:], pairs[100:], []
