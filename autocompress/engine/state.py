"""What is read of a study: its space, its trials, the front they form. Nothing here does anything, or loads torch.

studies/<name>/  space.yaml   the study's own copy of its space
                 study.json   where it came from, what it is made of, the machine, the baseline's measurement
                 study.db     Optuna's storage: the truth about every trial
                 progress.jsonl  the hypervolume of what was found after every charged trial
                 answers/     what every trial answered on the validation texts
                 confirmed.json  what finalists measured with other seeds
                 baseline/    the baseline's artefact
                 trials/017/  what an unfinished or a front trial made: model/, artefact/, curve.jsonl, ...
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.engine import confirmed, study_file
from autocompress.engine.front import dominance
from autocompress.engine.optuna.reader import Reader
from autocompress.engine.trial import Trial, nearest_trial
from autocompress.errors import ConfigError, NothingFeasible
from autocompress.machine import cache
from autocompress.space.goals import Measurement
from autocompress.space.language.steps import Params
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.trials.answers import Answers
from autocompress.trials.artefacts import LocalArtefacts
from autocompress.trials.job import BASELINE, StudyData

if TYPE_CHECKING:
    from autocompress.engine.front.finalists import Finalists
    from autocompress.engine.optuna.store import Store
    from autocompress.engine.progress import Point


class StudyState:
    """A study that lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.artefacts = LocalArtefacts(self.folder)
        self._seen: list[Trial] = []  # in the database, at the last look
        self._marked: list[Trial] = []  # the same, those on the front marked

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
        """With its steps: reading them loads every method, and so torch."""
        return study_file.space_of(self.folder)

    @cached_property
    def brief(self) -> SearchSpace:
        """The space without its steps: enough to read trials by."""
        return study_file.brief_of(self.folder)

    @property
    def data(self) -> StudyData:
        """What jobs need to know of it."""
        record = self.record
        baseline = record.get("baseline", {})
        measured = baseline.get("measurement", {})
        return StudyData(
            record["id"], record.get("space") or self.brief.dump(), str(self.root), str(self.folder),
            record.get("inputs", {}), record.get("machine", {}), measured.get("latency_ms", math.nan),
            {name.removesuffix("latency_ms"): ms for name, ms in measured.items() if name.endswith("_latency_ms")},
            baseline.get("computes_in", ""),
        )  # fmt: skip

    @cached_property
    def store(self) -> Store:
        """Optuna's storage of this study, to search with."""
        from autocompress.engine.optuna.store import Store

        brief, file = self.brief, self._reader
        return Store(file.path, brief.objectives, brief.search, self._points(), file.read_recipe)

    @cached_property
    def _reader(self) -> Reader:
        """The same storage, to read."""
        return Reader(self.folder / "study.db", partial(Recipe.read, traits=self.record.get("methods")))

    def _known(self) -> list[Trial]:
        """Every trial in the database."""
        known = self._reader.trials()
        return self.store.trials() if known is None else known

    @property
    def left_out(self) -> dict[str, str] | None:
        """Where methods stand in the space that cannot act on the model, and why. None: that was not asked yet."""
        known: dict[str, str] | None = self.record.get("left_out")
        return known

    def _points(self) -> Iterator[Params]:
        """Of every recipe that is searched; looked up when they are first asked for, which is after the baseline."""
        space = self.space.without(self.left_out or {})
        yield from space.points() if space else ()

    @property
    def baseline(self) -> Trial | None:
        """The uncompressed model on the target, trial -1. None before it was measured."""
        known = self.record.get("baseline")
        return known and Trial(
            BASELINE, "complete", Recipe(), measurement=known["measurement"], seconds=known["seconds"]
        )

    @property
    def begun(self) -> bool:
        """Whether anything was measured in it that could not be had again by starting anew."""
        return self.baseline is not None or bool(self._known())

    @property
    def trials(self) -> list[Trial]:
        """Every trial, refused and repeated ones too, those on the front marked."""
        known = self._known()
        if known != self._seen:  # who asks twice is not made to wait twice
            feasible = {t.number: t.measurement for t in known if t.feasible}
            best = dominance.front(feasible, self.brief.goals, self._answers.difference)
            self._seen, self._marked = known, [replace(t, front=True) if t.number in best else t for t in known]
        return list(self._marked)

    @cached_property
    def _answers(self) -> Answers:
        return Answers(self.artefacts, self.brief.task)

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other one beats, best score first."""
        return sorted((t for t in self.trials if t.front), key=lambda t: -t.measurement["score"])

    @property
    def confirmed(self) -> dict[int, Measurement]:
        """The score of every trial that was trained with several seeds: their mean, its interval, how many."""
        return confirmed.means(self.artefacts)

    def finalists(self, rule: str | None = None) -> Finalists:
        """Who may win by a rule, judged by all that is known of them. Raises `NothingFeasible` if there is nobody."""
        from autocompress.engine.front.finalists import Finalists

        front, baseline, search = self.front, self.baseline, self.brief.search
        if not front or baseline is None:
            raise NothingFeasible(f"the study {self.name!r} has no feasible trial yet")
        known = confirmed.figures(self.artefacts, front)
        return Finalists(
            rule or search.rule, tuple(front), known, self.brief.goals, baseline.measurement, search.confirm.top
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
        known = confirmed.figures(self.artefacts, [trial])[trial.number]
        return self.brief.goals.excesses(known, self.baseline.measurement)

    @property
    def progress(self) -> list[Point]:
        """The hypervolume of what was found after every charged trial."""
        from autocompress.engine.progress import Progress

        return Progress(self.brief.goals, self.baseline.measurement).points(self.trials) if self.baseline else []

    def trial(self, number: int) -> Trial:
        """One trial by its number; the baseline is -1."""
        known = {t.number: t for t in [self.baseline, *self.trials] if t}
        if number not in known:
            raise ConfigError(f"the study {self.name!r} has no trial {number}. {nearest_trial(number, known)}")
        return known[number]

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
            "study": self.name, "model": self.brief.model, "trained": sum(t.charged for t in trials),
            "front": sum(t.front for t in trials), "created": self.record["created"],
        }  # fmt: skip

    def relaxed(self) -> str:
        """If nothing is feasible: the nearest recipes, what binds, and which relaxation would admit some."""
        from autocompress.engine.front.relaxation import relaxation

        baseline = self.baseline
        seen = {t.number: t for t in self.trials if t.violations}
        if baseline is None or not seen:
            return "no recipe could be measured: `autocompress trials` lists the reasons"
        measured = {n: t.likeliest for n, t in seen.items()}
        found = relaxation(self.brief.goals.constraints, measured, baseline.measurement)
        if found is None:
            return "no trained recipe meets every constraint"
        nearest_ones = [f"  {seen[n].label}: {seen[n].reason}" for n in list(found.nearest)[:3]]
        return "\n".join(["no recipe meets every constraint.", *found.sentences, "Nearest:", *nearest_ones])

    @contextmanager
    def held(self) -> Iterator[None]:
        """One coordinator a study: the operating system's lock, which a killed process cannot leave behind."""
        from filelock import FileLock, Timeout

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
            cache.write_json(holder, {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            lock.release()
