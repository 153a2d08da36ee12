"""What is noticed over several trials: trouble that pauses the search, and what a person should know on the way."""

from __future__ import annotations

from autocompress.engine.events import Observer
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.errors import Paused

_SHOWN_AFTER = 20  # refusals in a row: say what comes nearest
_MOST_FAILED = 5  # in a row: something is wrong with more than the recipes
_MOST_ALIKE = 3  # in a row, of something nobody expects: likewise


class Alerts:
    """Is shown every trial that has ended."""

    def __init__(self, table: TrialTable, observer: Observer) -> None:
        self._table = table
        self._observer = observer

    def see(self, trial: Trial) -> None:
        """Raise `Paused` for trouble that does not depend on the recipe; say what a person should know."""
        self._stop_a_losing_streak()
        self._show_the_nearest(trial)

    def _stop_a_losing_streak(self) -> None:
        for count, alike in ((_MOST_FAILED, False), (_MOST_ALIKE, True)):
            latest = self._table.evaluated(latest=count)
            failed = len(latest) == count and all(t.state == "failed" and (t.unexpected or not alike) for t in latest)
            if failed and (not alike or len({t.reason for t in latest}) == 1):
                raise Paused(
                    f"the last {count} trials failed{' alike' if alike else ''}, the latest with: {latest[-1].reason}"
                )

    def _show_the_nearest(self, trial: Trial) -> None:
        refused = self._table.streak(lambda t: t.state == "refused")
        if trial.state == "refused" and len(refused) == _SHOWN_AFTER:
            broken = {t.number: sum(v for v in t.violations.values() if v > 0) for t in refused if t.violations}
            if broken:
                near = self._table[min(broken, key=lambda number: broken[number])]
                self._observer.note(
                    f"the last {_SHOWN_AFTER} recipes were refused before training. "
                    f"The nearest is {near.label}: {near.reason}"
                )
