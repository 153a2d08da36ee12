"""MLflow as a view of a study: it is made to hold what the ledger of trials holds, and never asked what to do.

A sync compares what every run should hold (`runs`) with what it is known to hold, and writes the difference. What it
is known to hold is learnt from MLflow once, by tag, and again after trouble. So a sync can be repeated at will, and
what an outage or a kill -9 left out is written by the next one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from autocompress.engine.trial import Trial
from autocompress.errors import Paused
from autocompress.machine import interrupts
from autocompress.tracking.runs import (  # fmt: skip
    STUDY,
    Run,
    StudyView,
    is_evaluated,
    is_uncharged,
    points,
    study_run,
    table_view,
    trial_run,
)
from autocompress.tracking.trouble import ExperimentDeleted, sentence, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

FolderOf = Callable[[Trial], Path | None]

_NAMED = "autocompress.experiment"  # a tag with the name that an experiment was made with: a person may rename it
FILES = "mlflow.autocompress.files"  # which files a run has; MLflow's pages hide the tags that begin with "mlflow."
PATIENCE, LONGEST = 30.0, 1800.0  # seconds for which MLflow is left alone: after the first failure, and at most

# MLflow retries a request for minutes by default, and a search must not wait for its spectator. It also phones home,
# and prints to standard output, where `--json` must be alone.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def tracking_uri(uri: str | None = None) -> str:
    """`uri`, else what MLFLOW_TRACKING_URI says, else mlflow.db in the current folder. SQLite files become absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    return f"sqlite:///{file.resolve().as_posix()}" if (file := _database(uri)) else uri


def shown(uri: str) -> str:
    """The address without a password."""
    return re.sub("//[^/]*@", "//***@", uri)


class Tracker:
    """Keeps one study's runs in MLflow up to date. Trouble there is said once and never raised."""

    def __init__(self, uri: str | None = None, on_warning: Callable[[str], None] = warnings.warn) -> None:
        self.uri = tracking_uri(uri)
        self._on_warning = on_warning
        self._session: _Session | None = None
        self._retry_at = 0.0
        self._failures = 0  # in a row
        self.trouble = ""  # what the last of them was, in one sentence

    @interrupts.waiting()
    def sync(self, view: StudyView, trials: Iterable[Trial], folder_of: FolderOf = lambda trial: None) -> bool:
        """Make MLflow hold what the study holds. True if it now does; if not, the next call catches up."""
        if time.monotonic() < self._retry_at and view.status == "RUNNING":
            return False
        # What is known of MLflow is forgotten unless all goes well, also when a second Ctrl-C cuts in.
        known, self._session = self._session, None
        try:
            self._session = self._synced(known, view, list(trials), folder_of)
        except Exception as error:  # whatever it is: a tracking outage never fails a search
            self._failed(error, view)
            return False
        self._failures = 0
        return True

    def _synced(self, known: _Session | None, view: StudyView, trials: list[Trial], folder_of: FolderOf) -> _Session:
        try:
            session = known or _Session(self.uri, view)
            session.sync(view, trials, folder_of)
        except Exception as error:
            if known is None or unreachable(error):
                raise
            session = _Session(self.uri, view)  # what was known has been deleted or renamed since
            session.sync(view, trials, folder_of)
        return session

    def restore(self, view: StudyView) -> None:
        """Bring the study's experiment back if it was deleted. Raises `Paused` for trouble at MLflow."""
        try:
            client = connect(self.uri)
            found = _experiment(client, view)
            if found and found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
        except Exception as error:
            raise Paused(f"{sentence(error, self.place)}.") from error

    def page(self, view: StudyView) -> str:
        """Where the MLflow UI shows the study's trials, relative to the server's address."""
        experiment = self._opened(view).experiment
        return f"#/experiments/{experiment}/runs?viewStateShareKey={view.id}&workflowType=machine_learning"

    def run_of(self, view: StudyView, trial: Trial) -> str:
        """The id of a trial's run. Raises `Paused` if MLflow does not answer, or does not hold it."""
        held = self._opened(view).held.get(str(trial.number))
        if held is None:
            raise Paused(f"MLflow at {self.place} does not hold {trial.label}.")
        return held.id

    def _opened(self, view: StudyView) -> _Session:
        try:
            return self._session or _Session(self.uri, view)
        except Exception as error:
            raise Paused(f"{sentence(error, self.place)}.") from error

    @property
    def place(self) -> str:
        return shown(self.uri)

    def _failed(self, error: Exception, view: StudyView) -> None:
        """An address that swallows packets holds a search up for 20 s each time: so it is asked less and less often."""
        self.trouble = sentence(error, self.place)
        self._retry_at = time.monotonic() + min(PATIENCE * 2**self._failures, LONGEST)
        self._failures += 1
        if self._failures == 1:
            self._on_warning(
                f"{self.trouble}: the search goes on; `autocompress sync {view.name}` will log what is missing"
            )


@dataclass
class _Held:
    """What one run in MLflow is known to hold."""

    id: str
    start: int
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    lines: int = 0  # of the training curve


class _Session:
    """A connection, one study's experiment, and what the study's runs are known to hold."""

    def __init__(self, uri: str, view: StudyView) -> None:
        self.client = connect(uri)
        self.experiment = self._find_experiment(uri, view)
        self.held: dict[str, _Held] = {}  # by STUDY or the trial's number
        self._refused = 0  # trials in the table of those that were not trained
        self._settled: dict[str, Trial] = {}  # what is written of trials that have ended: compared at no cost
        self._learn(view)

    def sync(self, view: StudyView, trials: list[Trial], folder_of: FolderOf) -> None:
        evaluated = {str(trial.number): trial for trial in trials if is_evaluated(trial)}
        first = STUDY not in self.held
        self._write(STUDY, study_run(view, trials, table=self._wants_table(view, trials)))
        if first:  # and never again: a person may change the view
            table = table_view(view, self.held[STUDY].start)
            self.client.set_experiment_tag(self.experiment, f"mlflow.sharedViewState.{view.id}", table)
        for key, trial in evaluated.items():
            if self._settled.get(key) != trial:
                self._write(key, trial_run(view, trial, folder_of(trial), self.held[STUDY].id))
            if trial.state != "running":
                self._settled[key] = trial
        for key, held in self.held.items():
            if held.status == "RUNNING" and key != STUDY and key not in evaluated:  # a ghost: no such trial
                self.client.set_terminated(held.id, "KILLED")
                held.status = "KILLED"

    def _wants_table(self, view: StudyView, trials: list[Trial]) -> bool:
        """MLflow takes a file as a whole: while the search runs, only once a quarter of it would be new."""
        refused = sum(is_uncharged(trial) for trial in trials)
        wants = view.status != "RUNNING" or refused > 1.25 * self._refused
        self._refused = refused if wants else self._refused
        return wants

    def _find_experiment(self, uri: str, view: StudyView) -> str:
        if found := _experiment(self.client, view):
            if found.lifecycle_stage == "deleted":
                way_back = f"`autocompress sync {view.name} --restore` brings it back with all it held"
                raise ExperimentDeleted(f"the experiment {found.name!r} was deleted there ({way_back})")
            return str(found.experiment_id)
        location = str(folder) if (folder := artifact_folder(uri)) else None
        # opens on the runs, not on LLM traces
        tags = {"mlflow.experimentKind": "custom_model_development", _NAMED: _mark(view)}
        return self.client.create_experiment(view.experiment, location, tags)

    def _learn(self, view: StudyView) -> None:
        ours, token = f"tags.`autocompress.study_id` = '{view.id}'", None
        while token != "":
            page = self.client.search_runs([self.experiment], ours, order_by=["start_time"], page_token=token)
            for run in page:
                info, data = run.info, run.data
                held = _Held(info.run_id, info.start_time, info.status, data.tags, data.params, data.metrics)
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

    def _create(self, key: str, run: Run) -> _Held:
        start = int((time.time() - run.seconds) * 1000)
        made = self.client.create_run(self.experiment, start, run.tags, run.name)
        self.held[key] = _Held(made.info.run_id, start, "RUNNING", dict(run.tags), {}, {})
        return self.held[key]

    def _write_files(self, held: _Held, files: dict[str, bytes]) -> dict[str, str]:
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


def _experiment(client: MlflowClient, view: StudyView) -> Experiment | None:
    """The study's experiment by its name, or by what it was once called; it may be a deleted one."""
    from mlflow.entities import ViewType

    if found := client.get_experiment_by_name(view.experiment):
        return found
    renamed = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{_NAMED}` = '{_mark(view)}'")
    return min(renamed, key=lambda each: each.lifecycle_stage == "deleted", default=None)


def _mark(view: StudyView) -> str:
    return hashlib.sha256(view.experiment.encode()).hexdigest()[:16]


def connect(uri: str) -> MlflowClient:
    """A client whose first use is over: importing takes 1.5 s and making a database's tables some seconds."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with _tables_lock(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _tables_lock(uri: str) -> AbstractContextManager[Any]:
    """Two searches that start at once would both make the tables of a new database."""
    if not (folder := artifact_folder(uri)):
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".tables.lock", timeout=60)


def artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of a SQLite store are: beside it. Any other store knows its own place.

    Not `mlruns`: where a folder of that name is, `mlflow ui` takes it for the store and ignores mlflow.db.
    """
    return file.parent / "mlartifacts" if (file := _database(uri)) else None


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
