"""The space that is searched: without the methods that cannot act on the model. Decided once in a study's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.engine.events import Observer
from autocompress.errors import AutocompressError, ConfigError
from autocompress.machine import cache
from autocompress.space.search_space import SearchSpace
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job

if TYPE_CHECKING:
    from autocompress.engine.state import StudyState


def searched(study: StudyState, executor: Executor, observer: Observer) -> SearchSpace:
    """The study's space without what was left out; asked now, unless the study has that on record or has trials.

    Raises `ConfigError` if nothing is left to search.
    """
    if study.left_out is None:
        # Trials of an older version were drawn from the whole space, which samplers take for granted.
        reasons = {} if study.store.trials() else _asked(study, executor, observer)
        if reasons:
            _narrowed(study, reasons)
            for note in _notes(reasons):
                observer.note(note)
        cache.write_json(study.folder / "study.json", study.record | {"left_out": reasons})
    return _narrowed(study, study.left_out or {})


def _asked(study: StudyState, executor: Executor, observer: Observer) -> dict[str, str]:
    job = Job("applies", study.data)
    observer.begin(job)
    result = executor.submit(job).result()
    if result.failure:
        raise AutocompressError(f"the methods could not be tried: {result.failure.reason}\n{result.failure.traceback}")
    return result.left_out


def _narrowed(study: StudyState, reasons: dict[str, str]) -> SearchSpace:
    space = study.space.without(reasons)
    if space is None:
        said = "\n  ".join(_notes(reasons))
        raise ConfigError(
            f"no recipe of this space can be applied to {study.space.model}:\n  {said}\n"
            "Offer other methods in its `steps`, or `skip` beside these."
        )
    return space


def _notes(reasons: dict[str, str]) -> list[str]:
    """One sentence a reason."""
    names: dict[str, list[str]] = {}
    for at, reason in reasons.items():
        names.setdefault(reason, []).append(at.rpartition(".")[2].partition("#")[0])
    return [
        f"{' and '.join(dict.fromkeys(alike))} cannot act on this model, whatever the knobs, and "
        f"{'is' if len(set(alike)) == 1 else 'are'} left out of the search: {reason}"
        for reason, alike in names.items()
    ]
