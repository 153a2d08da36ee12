"""What a search is after: objectives and constraints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from autocompress.errors import ConfigError, nearest

Measurement = dict[str, float]  # units in the names: score, latency_ms, size_mb, parameters, ...
Direction = Literal["maximize", "minimize"]
Cost = tuple[float, ...]  # of the objectives, each turned so that less is better


class Quantity(NamedTuple):
    """Something that is measured and that goals may speak of."""

    better: Direction
    about: str
    before_training: bool  # a rehearsal already knows it
    worse_bound: str | None = None  # its interval's end that is worse for the candidate, where there is an interval
    noise: float = 0.01  # share by which two must differ to be told apart, where there is no interval
    run: str = ""  # the run whose figure it is, where not every kind of task has that run


NEXT_TOKEN = "next_token"  # the run of a model that goes on writing: one token, after those that it remembers
# `archive_mb` waits for the training: what deflates well is a matter of the weights' values, not of their shapes. It
# takes seconds, and `peak_memory_mb` a process of its own: each is measured only where a goal speaks of it.
QUANTITIES: dict[str, Quantity] = {
    "score": Quantity("maximize", "the metric on the validation split", before_training=False),
    "latency_ms": Quantity(
        "minimize", "the baseline's latency over the speedup; a limit is compared with the end of the 95 % interval "
        "that is worse for the candidate", before_training=True, worse_bound="latency_ms_high",
    ),
    "latency_ms_p95": Quantity("minimize", "the same, for the slowest 5 % of calls", before_training=True, noise=0.1),
    "size_mb": Quantity("minimize", "bytes of the runtime's model file (OpenVINO's two), in millions", True),
    "archive_mb": Quantity(
        "minimize", "the same file deflated: where zeros show; measured (2 s for 100 MB) if an objective or a "
        "constraint names it", before_training=False,
    ),
    "parameters": Quantity("minimize", "numbers in the module", before_training=True),
    "flops": Quantity(
        "minimize", "two for each multiply-add of the module's matrix products, for one batch of the target", True
    ),
    "peak_memory_mb": Quantity(
        "minimize", "millions of bytes that opening the artefact and running one batch add to a process that has the "
        "runtime loaded; measured (2 to 5 s a recipe) if an objective or a constraint names it",
        before_training=True, noise=0.05,
    ),
    "training_seconds": Quantity("minimize", "what training the recipe took", before_training=False, noise=0.1),
    "speedup": Quantity(
        "maximize", "times faster than the baseline, measured in turn with it", True, worse_bound="speedup_low"
    ),
    "token_latency_ms": Quantity(
        "minimize", "of `causal-lm` only: `latency_ms` of each token after the first", before_training=True,
        worse_bound="token_latency_ms_high", run=NEXT_TOKEN,
    ),
    "token_latency_ms_p95": Quantity(
        "minimize", "the same, for the slowest 5 % of calls", before_training=True, noise=0.1, run=NEXT_TOKEN
    ),
    "token_speedup": Quantity(
        "maximize", "times faster than the baseline at that", True, worse_bound="token_speedup_low", run=NEXT_TOKEN
    ),
}  # fmt: skip
DEFAULT_OBJECTIVES: dict[str, Direction] = {"score": "maximize", "latency_ms": "minimize", "size_mb": "minimize"}
_EXAMPLES = {"score": 0.5, "training_seconds": 600}  # limits that somebody may write

_CONSTRAINT = re.compile(r"(\w+)\s*(>=|<=)\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\*\s*baseline)?")


@dataclass(frozen=True)
class Constraint:
    """`score >= 0.98 * baseline` or `size_mb <= 40`: a limit that a recipe must meet."""

    quantity: str
    bound: float
    relative: bool  # to the baseline

    @classmethod
    def parse(cls, text: object) -> Constraint:
        """Read a constraint as a person writes it. Spaces do not matter."""
        found = _CONSTRAINT.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None or found[3].count(".") > 1 or found[3] == ".":
            raise ConfigError(f"a constraint reads 'score >= 0.98 * baseline' or 'size_mb <= 40'. Got {text!r}.")
        name, sign, bound, relative = found[1], found[2], float(found[3]), found[4] is not None
        known = quantity(name)
        constraint = cls(name, bound, relative)
        if sign != constraint.sign:
            raise ConfigError(f"{name} is limited from the other side: write '{constraint.text}'. Got {text!r}.")
        if bound == 0 and known.better == "minimize":
            raise ConfigError(f"no model has {name} of 0: give a limit above it. Got {text!r}.")
        return constraint

    @property
    def sign(self) -> str:
        return ">=" if QUANTITIES[self.quantity].better == "maximize" else "<="

    @property
    def text(self) -> str:
        """The one way to write it: what violations are keyed by."""
        return f"{self.quantity} {self.sign} {self.bound:.12g}" + (" * baseline" if self.relative else "")

    def value(self, measurement: Measurement) -> float | None:
        """The figure that is compared: the end of the interval that is worse for the candidate, or the value."""
        bound = QUANTITIES[self.quantity].worse_bound
        return measurement.get(bound or self.quantity, measurement.get(self.quantity))

    def limit(self, baseline: Measurement) -> float:
        """The limit in the quantity's own unit."""
        return self.bound * baseline[self.quantity] if self.relative else self.bound

    def violation(self, measurement: Measurement, baseline: Measurement) -> float | None:
        """0 or less: met. 0.1: broken by a tenth of the limit. None: not measured yet.

        A limit of 0 or less (a score such as mcc beside a useless baseline) has no shares: there it is the plain
        difference. What is missed by a rounding error only is met.
        """
        value, limit = self.value(measurement), self.limit(baseline)
        if value is None:
            return None
        over = value - limit if self.sign == "<=" else limit - value
        return round(over / limit if limit > 0 else over, 12)

    def excess(self, measurement: Measurement, baseline: Measurement) -> str:
        """By how much a limit is broken, in words: `size_mb <= 40: 44, 10% above the limit of 40`."""
        value, limit = self.value(measurement), self.limit(baseline)
        assert value is not None
        share = f"{100 * abs(value - limit) / limit:.2g}%" if limit > 0 else f"{abs(value - limit):.2g}"
        side = "above" if self.sign == "<=" else "below"
        return f"{self.text}: {value:.4g}, {share} {side} the limit of {limit:.4g}"


def quantity(name: str) -> Quantity:
    """Look a quantity up by its name."""
    if name not in QUANTITIES:
        raise ConfigError(f"there is no quantity {name!r}. {nearest(name, QUANTITIES, otherwise='Quantities')}")
    return QUANTITIES[name]


def dominates(one: Cost, other: Cost) -> bool:
    """Whether `one` is no worse in anything, and better in something."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class Goals:
    """Objectives span the front; constraints say what may be on it."""

    objectives: Mapping[str, Direction]
    constraints: tuple[Constraint, ...] = ()

    def speak_of(self, quantity: str) -> bool:
        """Whether an objective or a constraint asks for it."""
        return quantity in self.objectives or any(c.quantity == quantity for c in self.constraints)

    @property
    def before_training(self) -> tuple[Constraint, ...]:
        """The constraints that a rehearsal can already judge."""
        return tuple(c for c in self.constraints if QUANTITIES[c.quantity].before_training)

    def violations(self, measurement: Measurement, baseline: Measurement) -> dict[str, float]:
        """By constraint, always in the same order; without those whose quantity is not measured yet."""
        found = {c.text: c.violation(measurement, baseline) for c in self.constraints}
        return {text: violation for text, violation in found.items() if violation is not None}

    def excesses(self, measurement: Measurement, baseline: Measurement) -> list[str]:
        """A phrase for every limit that is broken: which, and by how much."""
        violations = self.violations(measurement, baseline)
        return [c.excess(measurement, baseline) for c in self.constraints if violations.get(c.text, 0.0) > 0]

    def check_baseline(self, baseline: Measurement) -> None:
        """Raise `ConfigError` for every limit that is a share of nothing: of a baseline of 0 or less."""
        faults = [
            f"constraints: {c.text!r} must be relative to a baseline above 0. Got {baseline[c.quantity]:.4g}. "
            f"Write a limit of its own, such as '{c.quantity} {c.sign} {_EXAMPLES.get(c.quantity, 1)}', "
            "or leave it out."
            for c in self.constraints
            if c.relative and baseline[c.quantity] <= 0
        ]
        if faults:
            raise ConfigError("\n".join(faults))

    def overshoot(self, measurement: Measurement, baseline: Measurement) -> float:
        """The shares by which limits are broken, added up; 0: every limit is kept."""
        return sum(v for v in self.violations(measurement, baseline).values() if v > 0)

    def costs(self, measurement: Measurement) -> Cost:
        """Objectives turned so that less is better."""
        return tuple(measurement[o] * (-1 if d == "maximize" else 1) for o, d in self.objectives.items())
