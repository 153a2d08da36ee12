"""The course of a search: what was found after so many trials and seconds, what became of recipes, where time went."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from autocompress.engine.trial import Trial
from autocompress.report.findings.gather import Findings
from autocompress.space.rungs import share_name

_WHOLE = share_name(1.0)
STAGES = {  # of trials' seconds -> what people call them
    "applies": "asking what applies", "rehearse": "rehearsing", "train": "training", "lower": "lowering",
    "evaluate": "scoring", "measure": "measuring",
}  # fmt: skip


class Best(NamedTuple):
    """The best feasible score when a trial had ended."""

    trials: int  # charged
    seconds: float
    score: float
    number: int


class Unit(NamedTuple):
    """In which long and short times are told."""

    name: str
    seconds: float

    @classmethod
    def fit(cls, seconds: float) -> Unit:
        """The one in which the longest of several times is best read."""
        return next((unit for unit in (cls("hours", 3600), cls("minutes", 60)) if seconds >= 2 * unit.seconds),
                    cls("seconds", 1))  # fmt: skip


def best_scores(findings: Findings) -> list[Best]:
    """One for every trial that scored better than all feasible ones before it, and one for the end."""
    charged, found = 0, list[Best]()
    for trial in (ended := sorted(findings.trials, key=lambda t: t.ended)):
        charged += trial.charged
        score = trial.measurement.get("score")
        if trial.feasible and score is not None and (not found or score > found[-1].score):
            found.append(Best(charged, trial.ended, score, trial.number))
    return [*found, Best(charged, ended[-1].ended, found[-1].score, found[-1].number)] if found else []


def fates(findings: Findings) -> dict[str, int]:
    """What became of the recipes: a sentence's end -> how many, the good first."""
    counted: Counter[str] = Counter()
    for trial in findings.trials:
        counted.update(_fates(trial))
    order = ["on the front", "feasible", "over"]
    return dict(sorted(counted.items(), key=lambda pair: (_place(pair[0], order), -pair[1])))


def _place(fate: str, order: list[str]) -> int:
    return next((i for i, word in enumerate(order) if fate.startswith(word)), len(order))


def _fates(trial: Trial) -> list[str]:
    broken = [text for text, violation in trial.violations.items() if violation > 0]
    match trial.state:
        case "complete" if trial.feasible:
            return ["on the front" if trial.front else "feasible"]
        case "complete":
            return [f"over: {text}" for text in broken]
        case "refused":
            return [f"refused: {text}" for text in broken] or ["refused: cannot be carried out"]
        case "stopped":
            return [f"stopped at {last}" if (last := _last_rung(trial)) else "stopped"]
        case "failed":
            return ["failed"]
        case "duplicate":
            return ["repeated, answered from memory"]
    return ["under way"]


def _last_rung(trial: Trial) -> str:
    return f"{max(map(float, trial.rungs)):.0%} of its training" if trial.rungs else ""


def spent(findings: Findings) -> dict[str, float]:
    """Seconds by stage: of the baseline as a whole, of all trials together, of finalists' other seeds."""
    total: defaultdict[str, float] = defaultdict(float)
    for trial in findings.trials:
        for stage, seconds in trial.seconds.items():
            total[stage] += seconds
    again = sum(m.get("train_seconds", 0.0) for each in findings.repeats.values() for m in each.values())
    stages = {STAGES.get(name, name): seconds for name, seconds in total.items()}
    found = {"the baseline": sum(findings.baseline.seconds.values()), **stages, "training with other seeds": again}
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def saved(findings: Findings) -> dict[str, float]:
    """Seconds of training that were not needed: an estimate, by what trainings took on average."""
    took = [t.rung_seconds[_WHOLE] for t in findings.measured if _WHOLE in t.rung_seconds and t.variant_of is None]
    mean = sum(took) / len(took) if took else 0.0
    by_number = {t.number: t for t in findings.trials}
    found: defaultdict[str, float] = defaultdict(float)
    for trial in findings.trials:
        if trial.state == "refused":
            found["refused before training"] += mean
        elif trial.state == "stopped" and trial.rung_seconds:
            share, seconds = max((float(s), seconds) for s, seconds in trial.rung_seconds.items())
            found["stopped at a rung"] += seconds * (1 / share - 1) if share else 0.0
        elif trial.state == "duplicate":
            found["repeated recipes"] += mean
        elif trial.variant_of is not None and trial.variant_of in by_number:
            found["trained for another trial"] += by_number[trial.variant_of].rung_seconds.get(_WHOLE, 0.0)
        elif trial.state == "complete":
            cached = trial.rung_seconds.get(_WHOLE, 0.0) - trial.seconds.get("train", 0.0)
            found["stages in the cache"] += max(cached, 0.0)
    return {name: seconds for name, seconds in found.items() if seconds >= 0.05}
