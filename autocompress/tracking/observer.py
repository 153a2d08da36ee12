"""How a study is shown in MLflow, and when it is brought up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

from autocompress.engine.progress import PROGRESS
from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.errors import ConfigError, Paused
from autocompress.machine import interrupts
from autocompress.report.write import REPORT
from autocompress.space.axes import Axes
from autocompress.tracking.experiments import data_name, named
from autocompress.tracking.report_files import upload
from autocompress.tracking.runs import Status, StudyView, is_evaluated
from autocompress.tracking.story import story
from autocompress.tracking.sync import Tracker
from autocompress.tracking.trouble import sentence
from autocompress.tracking.ui import serve_ui
from autocompress.trials.artefacts import remeasured, trial_key
from autocompress.trials.job import BASELINE

_LAG = 10.0  # seconds
_RETOLD = 60.0  # seconds after which the description of a search that goes on is written anew
_FILES = ("space.yaml", "study.json")  # of the study's folder, kept with its run where they are there


class Log:
    """Keeps MLflow up to date while a search runs; on leaving, nothing stays RUNNING."""

    def __init__(self, study: StudyState, on_warning: Callable[[str], None]) -> None:
        """The study's baseline is measured by the time anything is logged."""
        self._study = study
        self._tracker = Tracker(on_warning=on_warning)
        self._on_warning = on_warning
        self._shown: list[Trial] | None = None
        self._shown_at = 0.0
        self._told, self._told_at = "", 0.0
        self.seconds = 0.0  # spent on logging

    @cached_property
    def _baseline(self) -> Trial:
        assert self._study.baseline
        return self._study.baseline

    def sync(self, trials: list[Trial], status: Status = "RUNNING") -> bool:
        """Make MLflow hold these trials and the baseline. False if it could not be reached.

        While a search runs, news of nothing but refused recipes and training curves may wait for some seconds.
        """
        start = time.perf_counter()
        shown = [trial for trial in trials if is_evaluated(trial)]
        if status == "RUNNING" and shown == self._shown and start < self._shown_at + _LAG:
            return True
        if status != "RUNNING" or not self._told or start >= self._told_at + _RETOLD:
            self._told = story(self._study, self._baseline, trials, ended=status != "RUNNING")
            self._told_at = start
        view = replace(self._view, description=self._told, status=status)
        done = self._tracker.sync(view, list(map(self._with_more, [self._baseline, *trials])), self._folder)
        self._shown, self._shown_at = (shown if done else None), start
        self.seconds += time.perf_counter() - start
        return done

    def ended(self, trial: Trial, table: TrialTable) -> None:
        """Hear of a trial that has ended. One that was not trained may wait for others like it."""
        if is_evaluated(trial) or time.perf_counter() >= self._shown_at + _LAG:
            self.sync(table.marked())

    def sync_now(self, *, restore: bool = False) -> str:
        """Bring MLflow up to date now, outside a search; returns its address. Raises `Paused` if that cannot be done.

        `restore`: first bring the study's experiment back if it was deleted there.
        """
        if restore:
            self._tracker.restore(self._view)
        if not self.sync(self._study.trials, "FINISHED"):
            raise Paused(f"{self._tracker.trouble}. Mend that, then say this again.")
        self.keep(self._study.folder / REPORT)
        return self._tracker.place

    @interrupts.waiting()
    def keep(self, folder: Path) -> None:
        """Upload the report, once all else is there. If MLflow cannot be reached, `sync` makes up for it."""
        if self._shown is None or not folder.is_dir():
            return
        try:
            upload(self._tracker.uri, self._study.record["id"], folder)
        except Exception as error:  # whatever it is: a tracking outage never fails a search
            trouble = sentence(error, self._tracker.place)
            self._on_warning(f"{trouble}: `autocompress sync {self._study.name}` will log the report")

    def run_of(self, trial: Trial) -> tuple[str, str]:
        """MLflow's address and the id of the trial's run there. Raises `Paused` if it cannot be had."""
        view = self._view
        return self._tracker.uri, self._tracker.run_of(view, trial)

    def serve(self, port: int | None) -> None:
        """Show the study's trials on MLflow's web pages, until Ctrl-C."""
        serve_ui(self._tracker.uri, self._tracker.page(self._view), port=port)

    def serve_comparison(self, port: int | None) -> None:
        """Show how the trials of the front differ, and what that does to score, latency and size.

        Raises `ConfigError` if there is no front yet.
        """
        if not (front := self._study.front):
            raise ConfigError(f"the study {self._study.name!r} has no front yet: nothing meets every constraint.")
        serve_ui(self._tracker.uri, *self._tracker.compare(self._view, front), port=port)

    @cached_property
    def _view(self) -> StudyView:
        """As it is when no search is under way, before anything is told of it."""
        return study_view(self._study)

    def _with_more(self, trial: Trial) -> Trial:
        """The score first, which MLflow's pages open on; then how much smaller it is than the baseline, and what was
        measured of it in a process of its own, beside what the search measured."""
        measured, whole = trial.measurement, self._baseline.measurement
        first = {"score": measured["score"]} if "score" in measured else {}
        size = {"size_ratio": whole["size_mb"] / measured["size_mb"]} if measured.get("size_mb") else {}
        again = remeasured(self._study.artefacts, trial.number) if trial.front else {}
        more = {f"isolated/{name}": value for name, value in again.items()}
        return replace(trial, measurement=first | measured | size | more)

    def _folder(self, trial: Trial) -> Path | None:
        return None if trial.number == BASELINE else self._study.folder / trial_key(trial.number)

    def __enter__(self) -> Log:
        self.sync(self._study.trials)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        ended = not kind or issubclass(kind, Exception)
        self.sync(self._study.trials, "FINISHED" if ended else "KILLED")


def study_view(study: StudyState) -> StudyView:
    """The study's own run: its constants. What it has found is told elsewhere."""
    space, record = study.brief, study.record
    return StudyView(
        id=record["id"], name=study.name, **named(study), status="FINISHED",
        axes=Axes(space.dump()["steps"], record.get("methods", {}), study.left_out or {}),
        tags={"autocompress.machine": record["machine"]["cpu"]},
        params={
            "model": space.model, "task": data_name(study), "kind": space.task.kind, "metric": space.task.metric,
            **{f"target.{k}": v for k, v in space.target.model_dump(mode="json").items()},
            **{f"search.{k}": v for k, v in space.search.model_dump(mode="json").items() if k != "trials"},
        },
        artifacts=tuple(study.folder / name for name in _FILES), curve=study.folder / PROGRESS,
    )  # fmt: skip
