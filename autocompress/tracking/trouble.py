"""What went wrong at MLflow, as one sentence: a server that is gone is told from one that says no, and why it does."""

from __future__ import annotations

import socket
from collections.abc import Iterator

_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}  # MLflow's error codes
_LIMITED = {"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "RESOURCE_LIMIT_EXCEEDED", "QUOTA_EXCEEDED"}
_AWAY = {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED"}


class ExperimentDeleted(Exception):
    """Somebody deleted the study's experiment. MLflow only marks it, and takes nothing for it any more."""


def sentence(error: BaseException, place: str) -> str:
    """What to tell a person of an error of MLflow at this address; no full stop."""
    codes = {getattr(each, "error_code", "") for each in _chain(error)}
    if isinstance(error, ExperimentDeleted):
        return f"MLflow at {place}: {error}"
    if codes & _DENIED:
        return f"MLflow at {place} denies access ({cause(error)}). Check your credentials for it"
    if codes & _LIMITED:
        return f"MLflow at {place} takes no more for now: a limit of the server is reached ({cause(error)})"
    if unreachable(error):
        return f"MLflow at {place} does not answer ({cause(error)})"
    return f"MLflow at {place} did not take what was logged ({cause(error)})"


def unreachable(error: BaseException) -> bool:
    """Whether nobody answered. An answer that says no has a code of its own."""
    return any(
        isinstance(each, ConnectionError | TimeoutError | socket.gaierror)
        or type(each).__module__.partition(".")[0] in ("requests", "urllib3")
        or getattr(each, "error_code", "") in _AWAY
        for each in _chain(error)
    )


def cause(error: BaseException) -> str:
    """What began it, in one line: MLflow and urllib3 wrap a refused connection four times."""
    *_, first = _chain(error)
    return (str(first).strip() or type(first).__name__).splitlines()[0][:200]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
