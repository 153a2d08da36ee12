"""MLflow as a view of a study: it is made to hold what the study holds, and never asked what to do.

A sync compares what every run should hold (`runs`) with what it is known to hold, and writes the difference. What it
is known to hold is learnt from MLflow once, by tag, and again after trouble. So a sync can be repeated at will, and
what an outage or a kill -9 left out is written by the next one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable

from autocompress.engine.trial import Trial
from autocompress.errors import Paused
from autocompress.machine import interrupts
from autocompress.tracking.connection import connect, shown, tracking_uri
from autocompress.tracking.experiments import experiment_of
from autocompress.tracking.runs import StudyView
from autocompress.tracking.study_runs import FolderOf, StudyRuns
from autocompress.tracking.trouble import sentence, unreachable

PATIENCE, LONGEST = 30.0, 1800.0  # seconds for which MLflow is left alone: after the first failure, and at most


class Tracker:
    """Keeps one study's runs in MLflow up to date. Trouble there is said once and never raised."""

    def __init__(self, uri: str | None = None, on_warning: Callable[[str], None] = warnings.warn) -> None:
        self.uri = tracking_uri(uri)
        self._on_warning = on_warning
        self._session: StudyRuns | None = None
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

    def _synced(self, known: StudyRuns | None, view: StudyView, trials: list[Trial], folder_of: FolderOf) -> StudyRuns:
        try:
            session = known or StudyRuns(self.uri, view)
            session.sync(view, trials, folder_of)
        except Exception as error:
            if known is None or unreachable(error):
                raise
            session = StudyRuns(self.uri, view)  # what was known has been deleted or renamed since
            session.sync(view, trials, folder_of)
        return session

    def restore(self, view: StudyView) -> None:
        """Bring the study's experiment back if it was deleted. Raises `Paused` for trouble at MLflow."""
        try:
            client = connect(self.uri)
            found = experiment_of(client, view)
            if found and found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
        except Exception as error:
            raise Paused(f"{sentence(error, self.place)}.") from error

    def page(self, view: StudyView) -> str:
        """Where the MLflow UI shows the study's trials, relative to the server's address."""
        experiment = self._opened(view).experiment
        return f"#/experiments/{experiment}/runs?viewStateShareKey={view.id}&workflowType=machine_learning"

    def compare(self, view: StudyView, trials: list[Trial]) -> tuple[str, str]:
        """The pages that compare these trials, relative to the server's address: charts, and side by side.

        Raises `Paused` if MLflow does not answer, or does not hold one of them.
        """
        opened = self._opened(view)
        if missing := [trial.label for trial in trials if str(trial.number) not in opened.held]:
            raise Paused(f"MLflow at {self.place} does not hold {missing[0]}.")
        try:
            return opened.compare(view, trials)
        except Exception as error:
            raise Paused(f"{sentence(error, self.place)}.") from error

    def run_of(self, view: StudyView, trial: Trial) -> str:
        """The id of a trial's run. Raises `Paused` if MLflow does not answer, or does not hold it."""
        held = self._opened(view).held.get(str(trial.number))
        if held is None:
            raise Paused(f"MLflow at {self.place} does not hold {trial.label}.")
        return held.id

    def _opened(self, view: StudyView) -> StudyRuns:
        try:
            return self._session or StudyRuns(self.uri, view)
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
