"""What a recipe would measure, with intervals, and what follows from it for the limits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

from torch import nn

from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.runtime import Runtime
from autocompress.space import predicted
from autocompress.space.goals import Goals, Measurement
from autocompress.trials.prediction import usual
from autocompress.trials.prediction.history import History
from autocompress.trials.prediction.pieces import Pieces, count
from autocompress.trials.prediction.posterior import Observation, Posterior, Told
from autocompress.trials.prediction.structure import hollow

_LATENCY_NOISE = 0.06  # of a latency: the model's own error and the measurement's
_SIZE_NOISE = 0.002  # of a file
_SIZE_CERTAIN = 0.01  # of a file: no interval of a size is narrower
_BASELINE_NOISE = 0.01  # its latency is a share of itself
_FEWEST = 4  # models measured, the uncompressed one among them, without which no latency is told

Verdict = Literal["broken", "kept", "doubt"]


class Foresight(NamedTuple):
    """`figures`: by quantity, and with `_low` and `_high` the interval's ends. `certain`: nothing in it is strange."""

    figures: Measurement
    certain: bool

    def verdict(self, goals: Goals, baseline: Measurement) -> Verdict:
        """`broken`: a limit, even at the best end; `kept`: all that are known before a training, at the worst end."""
        limits = Goals(goals.objectives, goals.before_training)
        if any(excess > 0 for excess in limits.violations(predicted.end(self.figures, best=True), baseline).values()):
            return "broken"
        worst = limits.violations(predicted.end(self.figures, best=False), baseline)
        kept = len(worst) == len(limits.constraints) and all(excess <= 0 for excess in worst.values())
        return "kept" if kept and self.certain and "latency_ms" in self.figures else "doubt"


class Foreseer:
    """Tells the figures of models on one target, from those of others there."""

    def __init__(
        self, surroundings: str, batch: Mapping[str, Any], whole: nn.Module, size_mb: float, runtime: Runtime
    ) -> None:
        """`whole`: the uncompressed model, and the size of its file."""
        self._history = History(surroundings)
        self._batch, self._whole, self._size_mb, self._runtime = batch, whole, size_mb, runtime

    @cached_property
    def _uncompressed(self) -> Pieces:
        return self.pieces(hollow(self._whole), PrecisionPlan())

    def pieces(self, model: nn.Module, plan: PrecisionPlan) -> Pieces:
        """Of a model on the meta device."""
        return count(model, plan, self._batch, self._runtime)

    def learn(self, shape: str, model: nn.Module, plan: PrecisionPlan, measured: Measurement) -> None:
        """Remember what was measured of a model; nothing, if its pieces cannot be counted."""
        if self._history.has(shape):
            return
        try:
            pieces = self.pieces(hollow(model), plan)
        except Exception:  # it needs numbers to run: nothing is foretold of such models
            return
        self._history.keep(shape, pieces, measured)

    def foresee(self, model: nn.Module, plan: PrecisionPlan, reference_ms: float) -> Foresight:
        """Of a model on the meta device. `reference_ms`: the uncompressed model's latency."""
        pieces = self.pieces(model, plan)
        latency, size = self._latency(), self._size()
        held_mb = self._bytes(pieces) / 1e6
        took = latency.tell(pieces.work, lambda share: _LATENCY_NOISE * share) if latency else None
        more = size.tell(pieces.work, lambda more_mb: _SIZE_NOISE * (held_mb + more_mb))
        figures = {"parameters": pieces.parameters, "flops": pieces.flops} | _size(held_mb, more)
        if took:
            figures |= _latency(took, reference_ms)
        return Foresight(figures, certain=took is not None and not took.strange)

    def _bytes(self, pieces: Pieces) -> float:
        module_file = not self._runtime.opened_by  # it holds what never runs too
        return pieces.all_stored if module_file else pieces.stored

    def _latency(self) -> Posterior | None:
        """Of what was measured, as shares of the uncompressed model's."""
        first = Observation(self._uncompressed.work, 1.0, _BASELINE_NOISE)
        others = [(one.pieces.work, 1 / one.speedup) for one in self._history.known()]
        seen = [first, *(Observation(work, share, _LATENCY_NOISE * share) for work, share in others)]
        return Posterior(seen, usual.seconds) if len(seen) >= _FEWEST else None

    def _size(self) -> Posterior:
        """Of megabytes besides what tensors hold."""
        every = [(self._uncompressed, self._size_mb)]
        every += [(one.pieces, one.size_mb) for one in self._history.known()]
        return Posterior(
            [Observation(p.work, max(mb - self._bytes(p) / 1e6, 1e-6), _SIZE_NOISE * mb) for p, mb in every],
            partial(usual.file_bytes, rounds_by_nodes=self._runtime.rounds_by_nodes),
        )


def _size(held_mb: float, more: Told) -> Measurement:
    whole = held_mb + more.figure
    return {
        "size_mb": whole, "size_mb_low": min(held_mb + more.low, whole * (1 - _SIZE_CERTAIN)),
        "size_mb_high": max(held_mb + more.high, whole * (1 + _SIZE_CERTAIN)),
    }  # fmt: skip


def _latency(took: Told, reference_ms: float) -> Measurement:
    share, low, high = (max(each, 1e-6) for each in took[:3])
    return {
        "latency_ms": share * reference_ms,
        "latency_ms_low": low * reference_ms, "latency_ms_high": high * reference_ms,
        "speedup": 1 / share, "speedup_low": 1 / high, "speedup_high": 1 / low,
    }  # fmt: skip
