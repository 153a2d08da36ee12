"""A study: a search space, the trials made in it, the front they form. It lives in a folder and survives anything."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.engine import identity, study_file
from autocompress.engine.events import Observer
from autocompress.engine.trial import Trial
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible, nearest, reason
from autocompress.machine import disk
from autocompress.report.notebook import ShownStudy
from autocompress.space.search_space import SearchSpace
from autocompress.trials.artefacts import trial_key
from autocompress.trials.job import Job

if TYPE_CHECKING:
    from autocompress.tracking.observer import Log
    from autocompress.tracking.registry import Registered
    from autocompress.trials.executors.executor import Executor
    from autocompress.trials.executors.paying import Workers

STUDIES = Path("studies")


def known_studies() -> list[str]:
    """The names of the studies in the current folder."""
    return sorted(place.parent.name for place in STUDIES.glob("*/study.json"))


class Study(ShownStudy):
    """`Study.create(space)` or `Study.open(name)`; `run` goes on until the budget is met."""

    @classmethod
    def create(cls, path: Path, name: str | None = None) -> Study:
        """The study of this space: a new one, or the one that is there already if its space is the same.

        A study of that name that has measured nothing, not even its baseline, gives way to a corrected space.
        """
        space = SearchSpace.load(path)
        if name is not None or path.stem.startswith("."):  # a file's name may hold blanks, and is one folder still
            study_file.checked_name(path.stem if name is None else name)
        return cls._made(space, path, path.stem if name is None else name)

    @classmethod
    def of(cls, space: SearchSpace, name: str) -> Study:
        """The same of a space that lies in no file."""
        from autocompress.space.language.yaml_lines import write_yaml

        with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
            path = Path(folder) / f"{name}.yaml"
            write_yaml(path, space.dump())
            return cls._made(SearchSpace.load(path, root=space.root), path, study_file.checked_name(name))

    @classmethod
    def _made(cls, space: SearchSpace, path: Path, name: str) -> Study:
        study = cls(STUDIES / name)
        if (study.folder / study_file.NAME).exists():
            return cls._found(study, space, path)
        study.folder.mkdir(parents=True, exist_ok=True)
        study_file.begin(study.folder, space, path, identity.versions(space))
        return study

    @classmethod
    def _found(cls, study: Study, space: SearchSpace, path: Path) -> Study:
        """The study that is there already. Raises `ConfigError` if its space is another one and it has begun."""
        try:
            identity.check_space(study, space, path)
        except ConfigError:
            if study.begun:
                raise
            with study.held():
                if study.begun:  # meanwhile
                    raise
                study_file.clear(study.folder)
                study_file.begin(study.folder, space, path, identity.versions(space))
            return cls(study.folder)
        if (study.folder / "space.yaml").read_bytes() != path.read_bytes():
            with study.held():
                identity.adopt(study, space, path)
            return cls(study.folder)
        return study

    @classmethod
    def open(cls, name: str) -> Study:
        """A study that exists, by its name or its folder."""
        for folder in (STUDIES / name, Path(name)):
            if (folder / "study.json").exists():
                return cls(folder)
        known = known_studies()
        hint = (
            nearest(name, known, otherwise="Studies") if known else "There are none yet: autocompress search SPACE.yaml"
        )
        raise ConfigError(f"there is no study {name!r} in {STUDIES}/. {hint}")

    def run(
        self, trials: int | None = None, timeout: float = math.inf, observer: Observer | None = None,
        workers: Workers = 1, trial_timeout: float | None = None, executor: Executor | None = None,
        training_hours: float = math.inf, rule: str | None = None, report: bool = True,
    ) -> str:  # fmt: skip
        """Search until `trials` recipes began training in all, or for `timeout` seconds, or until training took
        `training_hours` in all. Says why it ended, if early.

        `workers` trials go on at once (auto: as many as pay on this machine); one that trains for longer than
        `trial_timeout` seconds fails. `executor`, if given, is used instead of what these two ask for, and closed.
        `rule`: see `best`. `report`: write it at the end.

        Raises `NothingFeasible` if nothing meets every constraint at the end.
        """
        from autocompress.engine.run import SearchLimits, run
        from autocompress.tracking.observer import Log

        limits = SearchLimits(trials, timeout, training_hours, workers, trial_timeout, rule, attributes=report)
        observer = observer or Observer()
        log = Log(self, observer.note)
        try:
            ended_because = run(self, limits, observer, log, executor)
        except NothingFeasible:
            self._report_at_the_end(rule, observer, log, report and self.baseline is not None)
            raise
        self._report_at_the_end(rule, observer, log, report)
        return ended_because

    def _report_at_the_end(self, rule: str | None, observer: Observer, log: Log, wanted: bool) -> None:
        """No search fails of its report."""
        from autocompress.report.write import report

        try:
            if wanted:
                observer.reported(place := report(self, rule=rule, replay=False))
                log.keep(place.parent)
        except Exception as error:
            observer.note(f"The report could not be written: {reason(error)}.")

    def report(self, to: str | Path | None = None, rule: str | None = None) -> Path:
        """Write the report, into the study's folder if `to` is left out; returns the place of its HTML file.

        Measures what each step of the chosen recipe gives, if that is not known yet. Raises `ConfigError` before the
        baseline was measured.
        """
        from autocompress.report.write import report

        return report(self, None if to is None else Path(to), rule)

    def sync(self, *, restore: bool = False) -> str:
        """Bring MLflow up to date; returns its address. Raises `Paused` if it does not answer or does not take it.

        `restore`: first bring the study's experiment back if it was deleted there.
        """
        with self.held():
            return self.log(lambda said: None).sync_now(restore=restore)

    def serve_ui(self, port: int | None = None, *, compare: bool = False) -> None:
        """MLflow's web pages on this study, until Ctrl-C. A search that is under way logs by itself.

        `compare`: the pages that compare the trials of its front. Raises `ConfigError` if there is no front yet.
        """
        with contextlib.suppress(ConfigError):
            self.sync()
        log = self.log()
        (log.serve_comparison if compare else log.serve)(port)

    def log(self, on_warning: Callable[[str], None] = print) -> Log:
        """What brings MLflow up to date. Raises `ConfigError` before the baseline was measured."""
        from autocompress.tracking.observer import Log

        if self.baseline is None:
            raise ConfigError(f"the study {self.name!r} has nothing to show yet: its baseline was not measured.")
        return Log(self, on_warning)

    def gain(self, one: Trial, other: Trial) -> tuple[float, float] | None:
        """By how much `other` scores better than `one` on the same texts, and the standard error of that.

        None where it is not known what they answered; the baseline's answers are not.
        """
        return self._answers.difference(other.number, one.number)

    def judged(self, trial: Trial) -> dict[str, float]:
        """The trial's and the baseline's score on the untouched test split. Scored once, then remembered."""
        from autocompress.trials.executors.inline import InlineExecutor

        key = f"{trial_key(trial.number)}/judged.json"
        if (known := self.artefacts.read(key)) is None:
            job = Job("judge", self.data, trial.number, trial.recipe.dump())
            result = InlineExecutor(lambda *_: None).submit(job).result()
            if result.failure:
                raise AutocompressError(f"{trial.label} could not be scored on the test split: {result.failure.reason}")
            known = json.dumps(result.measurement, indent=1)
            self.artefacts.write(key, known)
        scores: dict[str, float] = json.loads(known)
        return scores

    def remake(self, trial: Trial) -> None:
        """Run the recipe of a trial whose artefacts were deleted when it left the front.

        Raises `ConfigError` if it could not become the same again: of other data, or with another version.
        """
        from autocompress.engine.confirmation import REMAKE
        from autocompress.trials.executors.inline import InlineExecutor

        identity.settle(self, Observer())
        executor = InlineExecutor(lambda *_: None)
        for kind in REMAKE:
            result = executor.submit(Job(kind, self.data, trial.number, trial.recipe.dump())).result()
            if result.failure:
                raise AutocompressError(f"{trial.label} could not be made again: {result.failure.reason}")

    def export(self, to: str | Path, trial: int | None = None, rule: str | None = None) -> Path:
        """Write the trial (or the front's best by `rule`) as a folder that loads and serves without a search.

        Warns if the best breaks a limit by its confirmed figures; the model card says so of any trial.
        """
        from autocompress.export.writer import export

        chosen = self.trial(trial) if trial is not None else self.best(rule)
        with disk.pausing():
            folder = export(self, chosen, Path(to), self.judged, self.remake)
        if trial is None and (broken := self.broken(chosen)):
            warnings.warn(f"{chosen.label} breaks {'; '.join(broken)}", stacklevel=2)
        return folder

    def register(self, folder: str | Path, name: str, trial: int, *, anyway: bool = False) -> Registered:
        """Make `folder`, which `trial` was exported to, the champion of the model `name` in MLflow's registry.

        Raises `NothingFeasible` for a trial that breaks limits of the study, unless it is wanted `anyway`, and `Paused`
        for trouble at MLflow; the folder is kept.
        """
        from autocompress.tracking.register import register

        return register(self, self.trial(trial), Path(folder), name, self.run_of, anyway=anyway)

    def run_of(self, trial: Trial) -> tuple[str, str]:
        """MLflow's address and the id of the trial's run there. Raises `Paused` if it cannot be had."""
        log = self.log(lambda said: None)
        with contextlib.suppress(ConfigError), self.held():  # a search that is under way logs by itself
            log.sync(self.trials, "FINISHED")
        return log.run_of(trial)
