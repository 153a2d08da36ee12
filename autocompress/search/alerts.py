"""What is noticed over several trials: trouble that pauses the search, and what a person should know on the way."""

from __future__ import annotations

from autocompress.errors import Paused
from autocompress.search.events import Observer
from autocompress.search.trial import Trial
from autocompress.search.trial_table import Standing

_SHOWN_AFTER = 20  # refusals in a row: say what comes nearest
_MOST_FAILED = 5  # in a row: something is wrong with more than the recipes
_MOST_ALIKE = 3  # in a row, of something nobody expects: likewise


class Lookout:
    """Is shown every trial that has ended."""

    def __init__(self, standing: Standing, observer: Observer) -> None:
        self._standing = standing
        self._observer = observer

    def see(self, trial: Trial) -> None:
        """Raise `Paused` for trouble that does not depend on the recipe; say what a person should know."""
        self._stop_a_losing_streak()
        self._show_the_nearest(trial)

    def _stop_a_losing_streak(self) -> None:
        for count, alike in ((_MOST_FAILED, False), (_MOST_ALIKE, True)):
            latest = self._standing.evaluated(latest=count)
            failed = len(latest) == count and all(t.state == "failed" and (t.unexpected or not alike) for t in latest)
            if failed and (not alike or len({t.reason for t in latest}) == 1):
                raise Paused(
                    f"the last {count} trials failed{' alike' if alike else ''}, the latest with: {latest[-1].reason}"
                )

    def _show_the_nearest(self, trial: Trial) -> None:
        refused = self._standing.streak(lambda t: t.state == "refused")
        if trial.state == "refused" and len(refused) == _SHOWN_AFTER:
            broken = {t.number: sum(v for v in t.violations.values() if v > 0) for t in refused if t.violations}
            if broken:
                near = self._standing[min(broken, key=lambda number: broken[number])]
                self._observer.note(
                    f"the last {_SHOWN_AFTER} recipes were refused before training. "
                    f"The nearest is {near.label}: {near.reason}"
                )
