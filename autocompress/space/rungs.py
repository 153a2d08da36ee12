"""Where trainings are scored on their way, and may be stopped: see `engine/front/stopping`.

The shares of 1/3: Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), arXiv:1810.05934.
"""

from __future__ import annotations

SHARES = (1 / 9, 1 / 3)  # of all training steps
_FROM_TRIALS = 20  # a search of fewer has too few to learn from


def shares(setting: str, trials: int) -> tuple[float, ...]:
    """Where the trainings of a search of so many trials are scored."""
    return SHARES if setting in ("stop", "watch") or (setting == "auto" and trials >= _FROM_TRIALS) else ()


def share_name(share: float) -> str:
    """How a share is written: `0.111`."""
    return f"{share:.3f}"
