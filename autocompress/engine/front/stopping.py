"""Stop a training that will not come to the front.

At its rungs, a ninth and a third of its steps, a trial is scored. Size and latency are known by then, so only the score
has a curve, and what it will be in the end is forecast (`learning_curve`). A trial is stopped if it loses to a finished
one even with half a deviation more than forecast; the others must be lowered alike, for a float32 model is always
beaten in size by an int8 one, and its own int8 variant may yet come to the front.

No waiting for peers: Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), arXiv:1810.05934.
Departure: they rank trials at the same rung by one number.
"""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.engine.front.learning_curve import forecast, standing
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.goals import Cost, Goals, Measurement, dominates
from autocompress.space.rungs import share_name

_LATEST = 200  # finished trials that a forecast is learnt from: more take longer, by the cube of their number


def lost(trial: Trial, share: float, table: TrialTable, goals: Goals) -> str:
    """Why the trial is stopped at this rung, or nothing."""
    name = share_name(share)
    if name not in trial.rungs:
        return ""
    finished = [t for t in table.evaluated() if t.state == "complete"]
    curves = [t for t in finished if name in t.rungs][-_LATEST:]
    gained = [(standing(t.recipe, t.rungs[name]), t.measurement["score"] - t.rungs[name]) for t in curves]
    foretold = forecast(standing(trial.recipe, trial.rungs[name]), gained)
    if foretold is None:
        return ""
    best = trial.rungs[name] + foretold.at_best
    alike = {t.number: t.measurement for t in finished if t.recipe.tail == trial.recipe.tail}
    if not (better := losses(trial.at_best | {"score": best}, alike, goals)):
        return ""
    named = ", ".join(f"t{number:03d}" for number in better)
    scored = f"scored {trial.rungs[name]:.3f} at {share:.0%} of its training"
    return f"{scored}: with the {best:.3f} it may come to at best it loses to {named}"


def losses(mine: Measurement, finished: Mapping[int, Measurement], goals: Goals) -> list[int]:
    """The finished trials, by number, that are better than `mine` in every objective and in score.

    In score also where it is no objective: who loses in it to one that misses a limit on score misses it too. None
    while an objective is not measured yet.
    """
    if not goals.objectives.keys() <= mine.keys():
        return []

    def cost(measurement: Measurement) -> Cost:
        return (*goals.costs(measurement), -measurement["score"])

    return [number for number, measurement in finished.items() if dominates(cost(measurement), cost(mine))]
