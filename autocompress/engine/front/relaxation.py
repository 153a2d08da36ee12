"""What to say when nothing is feasible: what came nearest, what stands in the way, and how far to give in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from autocompress.space.goals import Constraint, Measurement

NEAREST = 10  # how many of the nearest recipes have a say in which constraint binds


@dataclass(frozen=True)
class Admission:
    """Looser limits, and the trials that they would let pass."""

    constraints: tuple[Constraint, ...]  # the loosened ones only
    trials: tuple[int, ...]
    certain: bool  # every limit of these trials was measured; a refused trial's score was not


@dataclass(frozen=True)
class Relaxation:
    """The answer to a search that found nothing. Plain data; `sentences` say it to a person."""

    binding: Constraint  # broken by most of the nearest recipes
    nearest: dict[int, float]  # trial number -> total violation, nearest first
    broken_by: int  # how many of the nearest break the binding constraint
    admissions: tuple[Admission, ...]  # what would admit one recipe, and three

    @property
    def sentences(self) -> list[str]:
        first, *_ = self.nearest
        asked = min(len(self.nearest), NEAREST)
        lines = [
            f"The nearest recipe is t{first:03d}: it breaks its limits by {self.nearest[first]:.1%} in all.",
            f"What binds is {self.binding.text}: {self.broken_by} of the {asked} nearest recipes break it.",
        ]
        for admission in self.admissions:
            limits = " and ".join(constraint.text for constraint in admission.constraints)
            names = ", ".join(f"t{number:03d}" for number in admission.trials)
            caveat = "" if admission.certain else ", as far as a rehearsal can tell"
            lines.append(f"{limits} would admit {names}{caveat}.")
        return lines


def relaxation(
    constraints: tuple[Constraint, ...], measurements: Mapping[int, Measurement], baseline: Measurement
) -> Relaxation | None:
    """None when a recipe breaks nothing, or when none was measured: then there is nothing to relax."""
    every = {n: _broken(constraints, measured, baseline) for n, measured in measurements.items()}
    # Of a recipe that was refused in rehearsal, or stopped, the score is not known.
    unknown = {n: sum(c.value(measurements[n]) is None for c in constraints) for n in every}
    broken = {n: limits for n, limits in every.items() if limits}
    if not broken or any(not every[n] and not unknown[n] for n in every):
        return None
    ranked = sorted(broken, key=lambda n: (sum(broken[n].values()), unknown[n], n))
    near = [broken[n] for n in ranked[:NEAREST]]
    binding = max(constraints, key=lambda c: (sum(c in b for b in near), sum(b.get(c, 0) for b in near)))
    only = [n for n in ranked if set(broken[n]) == {binding}]
    admissions = []
    for k in (1, 3):
        # One looser limit is easier to accept than several, so recipes that break nothing else come first.
        chosen = only[:k] if len(only) >= k else ranked[:k]
        if len(chosen) == k:
            loosened = _loosened(constraints, [measurements[n] for n in chosen], baseline)
            admissions.append(Admission(loosened, tuple(chosen), certain=not any(unknown[n] for n in chosen)))
    total = {n: sum(broken[n].values()) for n in ranked}
    return Relaxation(binding, total, sum(binding in b for b in near), tuple(admissions))


def _broken(
    constraints: Iterable[Constraint], measurement: Measurement, baseline: Measurement
) -> dict[Constraint, float]:
    found = {c: c.violation(measurement, baseline) for c in constraints}
    return {c: violation for c, violation in found.items() if violation is not None and violation > 0}


def _loosened(
    constraints: Iterable[Constraint], measurements: list[Measurement], baseline: Measurement
) -> tuple[Constraint, ...]:
    """For every constraint that one of these breaks: the limit that the worst of them meets, in round figures."""
    out = []
    for constraint in constraints:
        values = [v for m in measurements if constraint in _broken([constraint], m, baseline)
                  if (v := constraint.value(m)) is not None]  # fmt: skip
        if values:
            scale = baseline[constraint.quantity] if constraint.relative else 1.0
            up = constraint.sign == "<="
            out.append(replace(constraint, bound=_rounded((max if up else min)(values) / scale, up=up)))
    return tuple(out)


def _rounded(value: float, *, up: bool) -> float:
    """To three significant digits, away from the limit, so that what it should admit it does."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    steps = round(value / unit, 6)  # 0.57 / 0.001 is 569.9999999999999
    return float(f"{(math.ceil(steps) if up else math.floor(steps)) * unit:.12g}")
