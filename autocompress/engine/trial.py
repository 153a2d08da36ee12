"""What a study knows of each of its trials. Pure data: reports, tracking and the command line read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from autocompress.space import predicted
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.job import BASELINE, Result

State = Literal["complete", "stopped", "failed", "running", "refused", "duplicate"]


@dataclass(frozen=True)
class Trial:
    """One recipe and what became of it."""

    number: int  #: -1 is the baseline
    state: State  #: what became of it; `refused` and `duplicate`: it was not trained
    recipe: Recipe  #: its steps, with every knob
    params: dict[str, Any] = field(default_factory=dict)  # what the sampler varied, by its name in the space
    measurement: Measurement = field(default_factory=dict)  #: quantity -> value, with units in the names
    predicted: Measurement = field(default_factory=dict)  #: what was not measured for want of doubt, with intervals
    violations: dict[str, float] = field(default_factory=dict)  #: limit -> share of it by which it is broken
    front: bool = False  #: whether it is on the study's front
    reason: str = ""  #: one line: why it was refused, stopped or failed
    traceback: str = ""
    unexpected: bool = False  # it failed of something that nobody raised on purpose
    diverged: str = ""  # the key of the steps whose training did: whatever begins with them will too
    duplicate_of: int | None = None
    variant_of: int | None = None  #: the trial that trained for this one too: only what follows the training differs
    seconds: dict[str, float] = field(default_factory=dict)  #: stage -> seconds: rehearse, train, lower, evaluate, ...
    rungs: dict[str, float] = field(default_factory=dict)  # share of the training, as `share_name` has it -> score then
    rung_seconds: dict[str, float] = field(default_factory=dict)  # share -> seconds of training steps by then
    ended: float = 0.0  # seconds into the search, interruptions not counted

    @property
    def charged(self) -> bool:
        """Whether it counts toward the budget: it began training, and for itself."""
        return self.state in ("complete", "stopped", "failed") and self.variant_of is None

    @property
    def feasible(self) -> bool:
        """Whether it was measured and meets every constraint."""
        return self.state == "complete" and all(v <= 0 for v in self.violations.values())

    @property
    def at_best(self) -> Measurement:
        """What was measured; before that, of what was predicted the better end of each interval."""
        return predicted.end(self.predicted, best=True) | self.measurement

    @property
    def likeliest(self) -> Measurement:
        """What was measured; before that, what was predicted."""
        return predicted.middle(self.predicted) | self.measurement

    @property
    def label(self) -> str:
        """`t017 layers+int8_dynamic`; the baseline is `baseline`."""
        return "baseline" if self.number == BASELINE else f"t{self.number:03d} {self.recipe.title}"

    def row(self) -> dict[str, Any]:
        """The shape of `trials --json`, which other programs may rely on."""
        measured = {name: self.measurement.get(name) for name in ("score", "latency_ms", "size_mb", "speedup")}
        return {
            "number": self.number, "state": self.state, "recipe": self.recipe.dump(), **measured,
            "feasible": self.feasible, "front": self.front, "reason": self.reason,
            "seconds": round(sum(self.seconds.values()), 3), "variant_of": self.variant_of,
        }  # fmt: skip


def nearest_trial(number: int, known: Mapping[int, Trial]) -> str:
    """The sentence that helps after a number that no trial has."""
    if not known:
        return "It has none yet."
    return f"The nearest is {known[min(known, key=lambda other: abs(other - number))].label}."


def with_result(trial: Trial, result: Result) -> Trial:
    """The trial, with what a job measured and how long it took."""
    names = dict.fromkeys([*trial.seconds, *result.seconds])
    seconds = {name: trial.seconds.get(name, 0.0) + result.seconds.get(name, 0.0) for name in names}
    return replace(trial, measurement=trial.measurement | result.measurement, seconds=seconds)


def broken(trial: Trial, result: Result, state: State) -> Trial:
    assert result.failure
    return replace(
        trial, state=state, reason=result.failure.reason, traceback=result.failure.traceback,
        unexpected=not result.failure.expected, diverged=result.failure.diverged, violations={},
    )  # fmt: skip


def repeated(trial: Trial, twin: Trial) -> Trial:
    """Answered from memory: what was measured then, uncharged."""
    return replace(
        trial, state="duplicate", measurement=twin.measurement if twin.state == "complete" else {},
        violations=twin.violations, reason=f"the same recipe as t{twin.number:03d}", duplicate_of=twin.number,
    )  # fmt: skip
