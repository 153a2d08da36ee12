"""A study: a search space, the trials made in it, the front they form. It lives in a folder and survives anything.

studies/<name>/  space.yaml   the study's own copy of its space
                 study.json   where it came from, the machine, the baseline's measurement
                 study.db     Optuna's storage: the truth about every trial
                 progress.jsonl  the hypervolume of what was found after every charged trial
                 answers/     what every trial answered on the validation texts
                 confirmed.json  what finalists measured with other seeds
                 baseline/    the baseline's artefact
                 trials/017/  what an unfinished or a front trial made: model/, artefact/, curve.jsonl, ...
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.errors import AutocompressError, ConfigError, NothingFeasible, nearest
from autocompress.machine import cache, disk
from autocompress.runtimes import latency
from autocompress.search import confirmation, identity, left_out, study_file
from autocompress.search.events import Observer
from autocompress.search.front.finalists import Finalists
from autocompress.search.front.relaxation import relaxation
from autocompress.search.optuna.store import Params, Store
from autocompress.search.progress import Point, Progress
from autocompress.search.run import Limits, held, run
from autocompress.search.trial import BASELINE, Measurement, Trial
from autocompress.search.trial_table import Standing
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.tracking.observer import Log
from autocompress.trials.answers import Answers
from autocompress.trials.executors.executor import Executor
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job
from autocompress.trials.work import trial_folder

if TYPE_CHECKING:
    from autocompress.tracking.registry import Registered

STUDIES = Path("studies")


def known_studies() -> list[str]:
    """The names of the studies in the current folder."""
    return sorted(place.parent.name for place in STUDIES.glob("*/study.json"))


class Study:
    """`Study.create(space)` or `Study.open(name)`; `run` goes on until the budget is met."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._seen: list[Trial] = []  # in the database, at the last look
        self._marked: list[Trial] = []  # the same, those on the front marked

    @classmethod
    def create(cls, path: Path, name: str | None = None) -> Study:
        """The study of this space: a new one, or the one that is there already if its space is the same."""
        space = SearchSpace.load(path)
        if name is not None or path.stem.startswith("."):  # a file's name may hold blanks, and is one folder still
            study_file.checked_name(path.stem if name is None else name)
        study = cls(STUDIES / (path.stem if name is None else name))
        if (study.folder / study_file.NAME).exists():
            identity.check_space(study, space, path)
            if (study.folder / "space.yaml").read_bytes() != path.read_bytes():
                with held(study):
                    identity.adopt(study, space, path)
                study = cls(study.folder)
            return study
        study.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, study.folder / "space.yaml")
        made = {
            "id": uuid.uuid4().hex,
            "root": study_file.relative(space.root, study.folder),
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        now = {"machine": latency.machine(space.target.device), "versions": identity.versions(space)}
        study_file.write(study.folder, {"format": study_file.FORMAT, **made, **now, "space": study_file.plain(space)})
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

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def record(self) -> dict[str, Any]:
        """What study.json holds."""
        return study_file.read(self.folder)

    @property
    def root(self) -> Path:
        """The folder that relative paths in its space start from."""
        return study_file.root_of(self.folder)

    @cached_property
    def space(self) -> SearchSpace:
        return study_file.space_of(self.folder)

    @cached_property
    def store(self) -> Store:
        """Optuna's storage of this study."""
        space = self.space
        return Store(self.folder / "study.db", space.objectives, space.search, self._points())

    def _points(self) -> Iterator[Params]:
        """Of every recipe that is searched; looked up when they are first asked for, which is after the baseline."""
        space = self.space.without(left_out.recorded(self))
        yield from space.points() if space else ()

    @property
    def baseline(self) -> Trial | None:
        """The uncompressed model on the target, trial -1. None before it was measured."""
        known = self.record.get("baseline")
        return known and Trial(
            BASELINE, "complete", Recipe(), measurement=known["measurement"], seconds=known["seconds"]
        )

    @property
    def trials(self) -> list[Trial]:
        """Every trial, refused and repeated ones too, those on the front marked."""
        known = self.store.trials()
        if known != self._seen:  # who asks twice is not made to wait twice
            self._seen, self._marked = known, Standing(known, self.space.goals, self._answers.difference).marked()
        return list(self._marked)

    @cached_property
    def _answers(self) -> Answers:
        return Answers(self.folder, self.space.task.metric)

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other one beats, best score first."""
        return sorted((t for t in self.trials if t.front), key=lambda t: -t.measurement["score"])

    @property
    def confirmed(self) -> dict[int, Measurement]:
        """The score of every trial that was trained with several seeds: their mean, its interval, how many."""
        known = confirmation.repeats(self.folder)
        return {number: confirmation.mean(measured) for number, measured in known.items() if len(measured) > 1}

    def finalists(self, rule: str | None = None) -> Finalists:
        """Who may win by a rule, judged by all that is known of them. Raises `NothingFeasible` if there is nobody."""
        front, baseline, search = self.front, self.baseline, self.space.search
        if not front or baseline is None:
            raise NothingFeasible(f"the study {self.name!r} has no feasible trial yet")
        known = confirmation.figures(self.folder, front)
        return Finalists(
            rule or search.rule, tuple(front), known, self.space.goals, baseline.measurement, search.confirm.top
        )

    def best(self, rule: str | None = None) -> Trial:
        """The front's member that a rule prefers: best_score, fastest, smallest, knee; left out: what the space says.

        Where the rule's finalists were trained with several seeds, it is the one that it prefers by their means, and by
        their latencies in a process of their own. Whoever breaks a limit by these comes last: see `broken`.
        """
        return self.finalists(rule).winner

    def broken(self, trial: Trial) -> list[str]:
        """A phrase for every limit that the trial breaks by all that is known of it: its confirmed figures, if any."""
        assert self.baseline
        known = confirmation.figures(self.folder, [trial])[trial.number]
        return self.space.goals.excesses(known, self.baseline.measurement)

    @property
    def progress(self) -> list[Point]:
        """The hypervolume of what was found after every charged trial."""
        return Progress(self.space.goals, self.baseline.measurement).points(self.trials) if self.baseline else []

    def trial(self, number: int) -> Trial:
        """One trial by its number; the baseline is -1."""
        known = {t.number: t for t in [self.baseline, *self.trials] if t}
        if number not in known:
            raise ConfigError(
                f"the study {self.name!r} has no trial {number}. Its trials: autocompress trials {self.name}"
            )
        return known[number]

    def run(
        self, trials: int | None = None, timeout: float = math.inf, observer: Observer | None = None,
        workers: int = 1, trial_timeout: float | None = None, executor: Executor | None = None,
        training_hours: float = math.inf, rule: str | None = None,
    ) -> str:  # fmt: skip
        """Search until `trials` recipes began training in all, or for `timeout` seconds, or until training took
        `training_hours` in all. Says why it ended, if early.

        `workers` trials go on at once; one that trains for longer than `trial_timeout` seconds fails. `executor`, if
        given, is used instead of what these two ask for, and closed. `rule`: see `best`.

        Raises `NothingFeasible` if nothing meets every constraint at the end.
        """
        limits = Limits(trials, timeout, training_hours, workers, trial_timeout, rule)
        return run(self, limits, observer or Observer(), executor)

    def charged(self) -> int:
        """How many trials began training."""
        return sum(t.charged for t in self.trials)

    def listed(self, *, refused: bool = False) -> list[Trial]:
        """The baseline and the trials that were to be trained; or those that were refused or repeated."""
        uncharged = ("refused", "duplicate")
        baseline = [] if refused or self.baseline is None else [self.baseline]
        return baseline + [t for t in self.trials if (t.state in uncharged) == refused]

    def row(self) -> dict[str, Any]:
        """One line of `studies --json`."""
        trials = self.trials
        return {
            "study": self.name, "model": self.space.model, "trained": sum(t.charged for t in trials),
            "front": sum(t.front for t in trials), "created": self.record["created"],
        }  # fmt: skip

    def sync(self, *, restore: bool = False) -> str:
        """Bring MLflow up to date; returns its address. Raises `Paused` if it does not answer or does not take it.

        `restore`: first bring the study's experiment back if it was deleted there.
        """
        with held(self):
            return self.log(lambda said: None).sync_now(restore=restore)

    def serve_ui(self, port: int | None = None) -> None:
        """MLflow's web pages on this study, until Ctrl-C. A search that is under way logs by itself."""
        with contextlib.suppress(ConfigError):
            self.sync()
        self.log().serve(port)

    def log(self, on_warning: Callable[[str], None] = print) -> Log:
        if self.baseline is None:
            raise ConfigError(f"the study {self.name!r} has nothing to show yet: its baseline was not measured.")
        return Log(self, self.baseline, on_warning)

    def relaxed(self) -> str:
        """If nothing is feasible: the nearest recipes, what binds, and which relaxation would admit some."""
        baseline = self.baseline
        seen = {t.number: t for t in self.trials if t.violations}
        if baseline is None or not seen:
            return "no recipe could be measured: `autocompress trials` lists the reasons"
        measured = {n: t.measurement for n, t in seen.items()}
        found = relaxation(self.space.goals.constraints, measured, baseline.measurement)
        if found is None:
            return "no trained recipe meets every constraint"
        nearest_ones = [f"  {seen[n].label}: {seen[n].reason}" for n in list(found.nearest)[:3]]
        return "\n".join(["no recipe meets every constraint.", *found.sentences, "Nearest:", *nearest_ones])

    def judged(self, trial: Trial) -> dict[str, float]:
        """The trial's and the baseline's score on the untouched test split. Scored once, then remembered."""
        place = trial_folder(self.folder, trial.number) / "judged.json"
        if not place.exists():
            job = Job("judge", str(self.folder), trial.number, trial.recipe.dump())
            result = InlineExecutor(lambda *_: None).submit(job).result()
            if result.failure:
                raise AutocompressError(f"{trial.label} could not be scored on the test split: {result.failure.reason}")
            cache.write_json(place, result.measurement)
        scores: dict[str, float] = json.loads(place.read_text())
        return scores

    def remake(self, trial: Trial) -> None:
        """Run the recipe of a trial whose artefacts were deleted when it left the front.

        Raises `ConfigError` if it could not become the same again: of other data, or with another version.
        """
        identity.settle(self, Observer())
        executor = InlineExecutor(lambda *_: None)
        for kind in confirmation.REMAKE:
            result = executor.submit(Job(kind, str(self.folder), trial.number, trial.recipe.dump())).result()
            if result.failure:
                raise AutocompressError(f"{trial.label} could not be made again: {result.failure.reason}")

    def export(self, to: str | Path, trial: int | None = None, rule: str | None = None) -> Path:
        """Write the trial (or the front's best by `rule`) as a folder that loads and serves without a search.

        Warns if the best breaks a limit by its confirmed figures; the model card says so of any trial.
        """
        from autocompress.export.writer import export

        chosen = self.trial(trial) if trial is not None else self.best(rule)
        with disk.pausing():
            folder = export(self, chosen, Path(to))
        if trial is None and (broken := self.broken(chosen)):
            warnings.warn(f"{chosen.label} breaks {'; '.join(broken)}", stacklevel=2)
        return folder

    def register(self, folder: str | Path, name: str, trial: int) -> Registered:
        """Make `folder`, which `trial` was exported to, the champion of the model `name` in MLflow's registry.

        Raises `Paused` for trouble at MLflow; the folder is kept.
        """
        from autocompress.tracking.register import register

        return register(self, self.trial(trial), Path(folder), name)

    def run_of(self, trial: Trial) -> tuple[str, str]:
        """MLflow's address and the id of the trial's run there. Raises `Paused` if it cannot be had."""
        log = self.log(lambda said: None)
        with contextlib.suppress(ConfigError), held(self):  # a search that is under way logs by itself
            log.sync(self.trials, "FINISHED")
        return log.run_of(trial)
