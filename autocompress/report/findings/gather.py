"""All that a report shows of one study, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from autocompress.engine import confirmed
from autocompress.engine.confirmed import Repeats
from autocompress.engine.front import attribution
from autocompress.engine.front.attribution import Replay
from autocompress.engine.progress import Point
from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError
from autocompress.report.findings import knobs
from autocompress.report.findings.quantities import told
from autocompress.report.tables import told_apart
from autocompress.space.goals import QUANTITIES, Goals, Measurement
from autocompress.trials.job import BASELINE

FEWEST = 10  # measured trials for importances; of fewer, they are chance


@dataclass(frozen=True)
class Findings:
    """Plain data. `trials`: all of them, refused ones too. `winner`: None where nothing is feasible."""

    study: str
    metric: str
    goals: Goals
    baseline: Trial
    trials: tuple[Trial, ...]
    winner: Trial | None
    rule: str
    finalists: tuple[Trial, ...]  # that were measured or trained again, the winner first
    known: dict[int, Measurement]  # of the finalists, by all that is known of them
    repeats: Repeats
    progress: tuple[Point, ...]
    replay: Replay | None  # of the winner
    broken: tuple[str, ...] = ()  # a phrase for every limit that the winner breaks when it is measured again
    advice: str = ""  # what stands in the way where nothing is feasible
    facts: Mapping[str, str] = field(default_factory=dict)  # what was searched, and where
    pretrained: bool = False  # recipes begin from the checkpoint as it is, not from the baseline
    unreplayed: str = ""  # why steps are not measured, if something is in the way of measuring them

    @cached_property
    def measured(self) -> list[Trial]:
        """Those that were trained to their end and measured."""
        return [t for t in self.trials if t.state == "complete"]

    @property
    def front(self) -> list[Trial]:
        """Each by all that is known of it, the best score first."""
        return sorted((self.latest(t) for t in self.trials if t.front), key=lambda t: -t.measurement["score"])

    def latest(self, trial: Trial) -> Trial:
        """With the figures of its confirmation, if it was confirmed."""
        return replace(trial, measurement=self.known.get(trial.number, trial.measurement))

    @cached_property
    def rows(self) -> list[knobs.Row]:
        """In what the recipes of `measured` differ."""
        return knobs.varied(t.recipe for t in self.measured)

    @cached_property
    def importances(self) -> dict[str, dict[str, float]]:
        """Of every objective: column of `rows` -> its share, all shares add up to 1. Empty: too few trials to tell.

        What can change no shape, such as a learning rate, is not asked about what depends on shapes alone.
        """
        from autocompress.engine.optuna.importance import shares

        if len(self.measured) < FEWEST or not any(self.rows):
            return {}
        costs = [self.goals.costs(t.measurement) for t in self.measured]
        values_only = {name for t in self.measured for name, method in knobs.named(t.recipe) if method.values_only}
        shapes = [{k: v for k, v in row.items() if k.split(".")[0] not in values_only} for row in self.rows]
        return {
            name: shares(shapes if QUANTITIES[name].before_training else self.rows, [cost[i] for cost in costs])
            for i, name in enumerate(self.goals.objectives)
        }

    @cached_property
    def names(self) -> dict[int, str]:
        """The recipes of `measured` in one line each, told apart."""
        return dict(zip((t.number for t in self.measured), told_apart(self.measured), strict=True))

    def hover(self, trial: Trial) -> str:
        """What a figure says of a trial when it is pointed at."""
        m, lines = trial.measurement, [f"<b>{self.title(trial)}</b>"]
        if trial.number != BASELINE:
            lines += self._steps(trial)
        shown = dict.fromkeys(["score", "latency_ms", "size_mb", *self.goals.objectives])
        lines += [told(name, m) for name in shown if name in m]
        return "<br>".join(lines + ([trial.reason] if trial.reason else []))

    def title(self, trial: Trial) -> str:
        """`t017, on the front`."""
        if trial.number == BASELINE:
            return "baseline"
        standing = "on the front" if trial.front else "feasible" if trial.feasible else "over a limit"
        won = self.winner is not None and trial.number == self.winner.number
        return f"t{trial.number:03d}, {'chosen' if won else standing}"

    def _steps(self, trial: Trial) -> list[str]:
        """A line for every step, with the knobs in which recipes differ."""
        row = self._row[trial.number]
        lines = []
        for name, _ in knobs.named(trial.recipe):
            mine = [f"{k.split('.')[-1]} {knobs.text(v)}" for k, v in row.items() if k.startswith(f"{name}.")]
            lines.append(f"{name} ({', '.join(mine)})" if mine else name)
        return lines

    @cached_property
    def _row(self) -> dict[int, knobs.Row]:
        return dict(zip((t.number for t in self.measured), self.rows, strict=True))


def gather(study: StudyState, rule: str | None = None, unreplayed: str = "") -> Findings:
    """Read them. Raises `ConfigError` before the baseline was measured, and for a rule that there is not."""
    if study.baseline is None:
        raise ConfigError(
            f"the study {study.name!r} has nothing to report yet: its baseline was not measured. "
            f"Go on with it: autocompress resume {study.name}"
        )
    last = study.finalists(rule) if study.front else None
    winner = last.winner if last else None
    again = [t for t in last.trials if last.known[t.number] != t.measurement] if last else []
    brief = study.brief
    return Findings(
        study=study.name,
        metric=brief.task.metric,
        goals=brief.goals,
        baseline=study.baseline,
        trials=tuple(study.trials),
        winner=winner,
        rule=rule or brief.search.rule,
        finalists=tuple(sorted(again, key=lambda t: t is not winner)),
        known=dict(last.known) if last else {},
        repeats=confirmed.repeats(study.artefacts),
        progress=tuple(study.progress),
        replay=attribution.known(study.artefacts, winner) if winner else None,
        broken=tuple(study.broken(winner)) if winner else (),
        advice="" if winner else study.relaxed(),
        facts=_facts(study),
        pretrained=brief.start == "pretrained",
        unreplayed=unreplayed,
    )


def _facts(study: StudyState) -> dict[str, str]:
    brief, record = study.brief, study.record
    data, target = brief.task.data, brief.target
    return {
        "model": brief.model, "data": data if isinstance(data, str) else data["train"],
        "on": f"{target.runs_in} {target.device}, {target.threads} thread{'s' * (target.threads > 1)}, "
        f"{target.batch_size} x {target.sequence_length} tokens, {record['machine'].get('cpu', '')}",
        "begun": record["created"],
    }  # fmt: skip
