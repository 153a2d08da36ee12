"""Stop a training that falls behind its peers: successive halving for several objectives, with the front protected.

At a ninth and a third of its steps a trial is scored. Size and latency are known by then, so only the score has a
curve. Its peers are the trials that were scored at the same share and meet the limits on size and latency. All are
sorted into fronts (non-dominated sorting, Deb et al. 2002); the trial is stopped if it is not on the first of them and
more than 1/3 of its peers are on a better one than it. A trial that would be on the search's front if its score stayed
as it is goes on in any case.

Its score is taken for more than it is: by as much as the luckiest tenth of the finished trials gained from this rung to
their end beyond what half of them gained. In 54 real trainings (benchmarks/tabulated.yaml) those with a high learning
rate were behind in the middle, while it was high, and ahead in the end; without this allowance they were stopped.

Jamieson & Talwalkar 2016, arXiv:1502.07943, and Li et al. 2018, "A System for Massively Parallel Hyperparameter
Tuning" (ASHA), arXiv:1810.05934: shares of 1/3, no waiting for peers. Departure: they rank by one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from autocompress.goals import Cost, dominates

SHARES = (1 / 9, 1 / 3)  # of all training steps
_FROM_TRIALS = 20  # a search of fewer has too few peers
_LEAST_PEERS = 5
_TOLERATED = 1 / 3  # of the peers may rank better


def shares(setting: str, trials: int) -> tuple[float, ...]:
    """Where the trainings of a search of so many trials are scored."""
    return SHARES if setting in ("stop", "watch") or (setting == "auto" and trials >= _FROM_TRIALS) else ()


def share_name(share: float) -> str:
    """How a share is written: `0.111`."""
    return f"{share:.3f}"


def allowance(gains: Sequence[float]) -> float | None:
    """How much more than usual a trial may still gain, by what finished ones did from this rung on. None: unknown."""
    if len(gains) < _LEAST_PEERS:
        return None
    return quantiles(gains, n=10, method="inclusive")[-1] - median(gains)


def losses(mine: Cost, peers: Mapping[int, Cost], front: Mapping[int, Cost]) -> list[int]:
    """The peers that a trial lost to, by number, if it should be stopped; else none.

    `peers`: what the others had at the same rung. `front`: the finished trials that no other one beats.
    """
    protected = front and not any(dominates(other, mine) for other in front.values())
    if protected or len(peers) < _LEAST_PEERS:
        return []
    ranks = ranked({**peers, _ME: mine})
    better = [number for number in peers if ranks[number] < ranks[_ME]]
    return better if len(better) > _TOLERATED * len(peers) else []


_ME = -2  # no trial has this number


def ranked(costs: Mapping[int, Cost]) -> dict[int, int]:
    """By number: 0 for those that no other one dominates, 1 for those that only these dominate, and so on."""
    ranks: dict[int, int] = {}
    left, rank = dict(costs), 0
    while left:
        best = [n for n, mine in left.items() if not any(dominates(other, mine) for other in left.values())]
        ranks |= dict.fromkeys(best, rank)
        left = {n: cost for n, cost in left.items() if n not in ranks}
        rank += 1
    return ranks
