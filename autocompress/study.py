"""A study: a search space, the trials made in it, the front they form. It lives in a folder and survives anything.

studies/<name>/  space.yaml   the study's own copy of its space
                 study.json   where it came from, the machine, the baseline's measurement
                 study.db     Optuna's storage: the truth about every trial
                 baseline/    the baseline's artefact
                 trials/017/  what an unfinished or a front trial made: model/, artefact/, curve.jsonl
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from autocompress import anchors, cache, measure, selection
from autocompress.coordinator import CHARGED, Coordinator, mark_front
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible, nearest
from autocompress.executors import Executor
from autocompress.executors.inline import InlineExecutor
from autocompress.executors.processes import ProcessExecutor
from autocompress.jobs import Job, Kind
from autocompress.ledger import BASELINE, Trial
from autocompress.observer import Observer
from autocompress.recipe import Recipe
from autocompress.relaxation import relaxation
from autocompress.scheduler import drive
from autocompress.space import SearchSpace
from autocompress.store import Store
from autocompress.tracking.log import Log
from autocompress.trial import trial_folder

if TYPE_CHECKING:
    from autocompress.tracking.registry import Registered

STUDIES = Path("studies")
REMAKE: tuple[Kind, ...] = ("train", "evaluate")
_VERSIONS = ("autocompress", "torch", "transformers", "onnxruntime", "optuna")


def known_studies() -> list[str]:
    """The names of the studies in the current folder."""
    return sorted(place.parent.name for place in STUDIES.glob("*/study.json"))


class Study:
    """`Study.create(space)` or `Study.open(name)`; `run` goes on until the budget is met."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @classmethod
    def create(cls, path: Path, name: str | None = None) -> Study:
        """The study of this space: a new one, or the one that is there already if its space is the same."""
        space = SearchSpace.load(path)
        study = cls(STUDIES / (name or path.stem))
        if (study.folder / "study.json").exists():
            if changes := study.space.diff(space):
                raise ConfigError(
                    f"{path}: the study {study.name!r} was made with another space:\n  "
                    + "\n  ".join(changes)
                    + f"\nGive this one a name of its own: --study {study.name}-2"
                )
            return study
        study.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, study.folder / "space.yaml")
        versions = {package: version(package) for package in _VERSIONS}
        made = {
            "id": uuid.uuid4().hex,
            "root": str(space.root.resolve()),
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        cache.write_json(
            study.folder / "study.json", {"format": 1, **made, "machine": measure.machine(), "versions": versions}
        )
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
        record: dict[str, Any] = json.loads((self.folder / "study.json").read_text())
        return record

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace.load(self.folder / "space.yaml", root=Path(self.record["root"]))

    @cached_property
    def _store(self) -> Store:
        space = self.space
        return Store(self.folder / "study.db", self.name, space.objectives, space.search, space.points())

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
        return mark_front(self._store.trials(), self.space)

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other one beats, best score first."""
        return sorted((t for t in self.trials if t.front), key=lambda t: -t.measurement["score"])

    def best(self, rule: str = "knee") -> Trial:
        """The front's member that a rule prefers: best_score, fastest, smallest, knee."""
        front = {t.number: t for t in self.front}
        if not front:
            raise NothingFeasible(f"the study {self.name!r} has no feasible trial yet")
        measured = {n: t.measurement for n, t in front.items()}
        return front[selection.pick(rule, measured, tuple(self.space.objectives))]

    def trial(self, number: int) -> Trial:
        """One trial by its number; the baseline is -1."""
        known = {t.number: t for t in [self.baseline, *self.trials] if t}
        if number not in known:
            raise ConfigError(
                f"the study {self.name!r} has no trial {number}. Its trials: autocompress trials {self.name}"
            )
        return known[number]

    def run(
        self, trials: int | None = None, timeout: float = float("inf"), observer: Observer | None = None,
        workers: int = 1, trial_timeout: float | None = None, executor: Executor | None = None,
    ) -> str:  # fmt: skip
        """Search until `trials` recipes began training in all, or for `timeout` seconds. Says why it ended, if early.

        `workers` trials go on at once; one that trains for longer than `trial_timeout` seconds fails. `executor`, if
        given, is used instead of what these two ask for, and closed.

        Raises `NothingFeasible` if nothing meets every constraint at the end.
        """
        observer = observer or Observer()
        budget, deadline = trials or self.space.search.trials, time.monotonic() + timeout
        with self._held(), contextlib.closing(executor or _executor(workers, trial_timeout, observer)) as executor:
            self._check_the_machine()
            self._store.finish_told()
            baseline = self._measured_baseline(executor, observer)
            for anchor in anchors.tried_first(self.space):
                self._store.enqueue(self.space.locate(anchor))
            observer.finished(baseline)
            log = self._log(observer.note)
            coordinator = Coordinator(self.folder, self.space, self._store, baseline.measurement, observer, log.sync)
            with log:
                drive(coordinator.lives(budget, deadline), executor)
            spent = self.record.get("log_seconds", 0.0) + log.seconds
            cache.write_json(self.folder / "study.json", self.record | {"log_seconds": spent})
        if not self.front:
            early = f"{coordinator.ended_because}. " if coordinator.ended_because else ""
            raise NothingFeasible(early + self.relaxed())
        return coordinator.ended_because

    def charged(self) -> int:
        """How many trials began training."""
        return sum(t.state in CHARGED for t in self.trials)

    def listed(self, *, refused: bool = False) -> list[Trial]:
        """The baseline and the trials that were to be trained; or those that were refused or repeated."""
        uncharged = ("refused", "duplicate")
        baseline = [] if refused or self.baseline is None else [self.baseline]
        return baseline + [t for t in self.trials if (t.state in uncharged) == refused]

    def row(self) -> dict[str, Any]:
        """One line of `studies --json`."""
        front, created = len(self.front), self.record["created"]
        return {
            "study": self.name, "model": self.space.model, "trained": self.charged(), "front": front, "created": created
        }  # fmt: skip

    def sync(self) -> str:
        """Bring MLflow up to date; returns its address. Raises `Paused` if it does not answer."""
        with self._held():
            return self._log().sync_now()

    def serve_ui(self, port: int | None = None) -> None:
        """MLflow's web pages on this study, until Ctrl-C. A search that is under way logs by itself."""
        with contextlib.suppress(ConfigError):
            self.sync()
        self._log().serve(port)

    def _log(self, on_warning: Callable[[str], None] = print) -> Log:
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
        """Run the recipe of a trial whose artefacts were deleted when it left the front."""
        executor = InlineExecutor(lambda *_: None)
        for kind in REMAKE:
            result = executor.submit(Job(kind, str(self.folder), trial.number, trial.recipe.dump())).result()
            if result.failure:
                raise AutocompressError(f"{trial.label} could not be made again: {result.failure.reason}")

    def export(self, to: str | Path, trial: int | None = None, rule: str = "knee") -> Path:
        """Write the trial (or the front's best by `rule`) as a folder that loads and serves without a search."""
        from autocompress.export import export

        return export(self, self.trial(trial) if trial is not None else self.best(rule), Path(to))

    def register(self, folder: str | Path, name: str, trial: int) -> Registered:
        """Make `folder`, which `trial` was exported to, the champion of the model `name` in MLflow's registry.

        Raises `Paused` for trouble at MLflow; the folder is kept.
        """
        from autocompress.registration import register

        return register(self, self.trial(trial), Path(folder), name)

    def run_of(self, trial: Trial) -> tuple[str, str]:
        """MLflow's address and the id of the trial's run there. Raises `Paused` if it cannot be had."""
        log = self._log(lambda said: None)
        with contextlib.suppress(ConfigError), self._held():  # a search that is under way logs by itself
            log.sync(self.trials, "FINISHED")
        return log.run_of(trial)

    def _check_the_machine(self) -> None:
        """Latencies of two machines are not compared."""
        then, now = self.record["machine"], measure.machine()
        if then != now:
            changed = ", ".join(f"{key} {then.get(key)!r} -> {now[key]!r}" for key in now if then.get(key) != now[key])
            raise ConfigError(
                f"the study {self.name!r} was measured on another machine ({changed}), and latencies of two machines "
                f"cannot be compared. Start one of its own here: autocompress search SPACE.yaml --study {self.name}-2"
            )

    def _measured_baseline(self, executor: Executor, observer: Observer) -> Trial:
        """Measured once in the life of the study."""
        if (known := self.baseline) is None:
            job = Job("baseline", str(self.folder))
            observer.begin(job)
            result = executor.submit(job).result()
            if result.failure:
                raise AutocompressError(f"the baseline failed: {result.failure.reason}\n{result.failure.traceback}")
            for note in result.notes:
                observer.note(note)
            measured = {"measurement": result.measurement, "seconds": result.seconds}
            cache.write_json(self.folder / "study.json", self.record | {"baseline": measured})
            known = Trial(BASELINE, "complete", Recipe(), measurement=result.measurement, seconds=result.seconds)
        return known

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One coordinator a study: the operating system's lock, which a killed process cannot leave behind."""
        lock, holder = FileLock(self.folder / "lock", timeout=0), self.folder / "holder.json"
        try:
            lock.acquire()
        except Timeout:
            who = json.loads(holder.read_text()) if holder.exists() else {}
            raise ConfigError(
                f"the study {self.name!r} is being searched by process {who.get('pid')} on {who.get('host')}. "
                "Wait for it, or stop it first."
            ) from None
        try:
            cache.write_json(holder, _whoami())
            yield
        finally:
            lock.release()


def _executor(workers: int, trial_timeout: float | None, observer: Observer) -> Executor:
    """One worker is this process itself, unless it may have to be killed."""
    if workers < 1:
        raise ConfigError(f"workers: must be at least 1. Got {workers!r}.")
    if workers == 1 and trial_timeout is None:
        return InlineExecutor(observer.step)
    return ProcessExecutor(workers, observer.step, trial_timeout)


def _whoami() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}
