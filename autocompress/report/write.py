"""Write the report of a study. What the chosen recipe's steps measure is asked for first, if it is not known yet."""

from __future__ import annotations

from pathlib import Path

from autocompress.engine import identity
from autocompress.engine.events import Observer
from autocompress.engine.front import attribution
from autocompress.engine.scheduler import drive
from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import AutocompressError, ConfigError
from autocompress.machine import disk
from autocompress.report.findings.gather import gather
from autocompress.report.page import page
from autocompress.space.recipe import Recipe
from autocompress.trials.executors.inline import InlineExecutor

REPORT = "report"  # the folder in the study's


def report(study: StudyState, to: Path | None = None, rule: str | None = None, *, replay: bool = True) -> Path:
    """Write report.html and its PNGs into `to`, else into the study's folder; returns the place of report.html.

    `replay`: measure what is not known yet of the chosen recipe's steps. Where that fails, the report says why.
    Raises `ConfigError` before the baseline was measured.
    """
    if to is not None and to.exists() and not to.is_dir():
        raise ConfigError(f"--to: should be a folder. Got the file {str(to)!r}.")
    with disk.pausing():
        found = gather(study, rule, _replayed(study, rule) if replay else "")
        if to is None:
            study.artefacts.put(REPORT, lambda draft: page.write(found, draft))
            return study.folder / REPORT / page.NAME
        to.mkdir(parents=True, exist_ok=True)
        return page.write(found, to)


class _Reasons(Observer):
    """Remembers why steps could not be replayed."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def replayed(self, trial: Trial, steps: Recipe, reason: str) -> None:
        self.said += [reason] if reason else []


def _replayed(study: StudyState, rule: str | None) -> str:
    """Measure what is left to measure. Why it could not be, or nothing. Loads torch only if something is left."""
    if (
        not study.front
        or study.baseline is None
        or attribution.known(study.artefacts, winner := study.best(rule)).complete
    ):
        return ""
    reasons = _Reasons()
    try:
        with study.held():
            identity.settle(study, reasons)
            drive(attribution.lives(study.data, winner, reasons), InlineExecutor(lambda *_: None))
    except AutocompressError as error:  # another machine or version, other data, a search that is under way
        reasons.said.append(str(error).splitlines()[0])
    return "; ".join(dict.fromkeys(reasons.said))
