"""A session that has read something before: every run goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autocompress.models.decoders.remembered import past_of
from autocompress.runtimes.runtime import Session

if TYPE_CHECKING:
    import numpy as np

    from autocompress.runtimes.runtime import Inputs


class Continued:
    """What was read is kept as the session itself has it, and read anew by no run."""

    def __init__(self, session: Session, before: Inputs) -> None:
        self._session, self._past = session, past_of(session.outputs(before))

    @property
    def labels(self) -> tuple[str, ...]:
        """As the session says."""
        return self._session.labels

    def run(self, batch: Inputs) -> np.ndarray:
        logits: np.ndarray = self.outputs(batch)["logits"]
        return logits

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        return self._session.outputs({**batch, **self._past})


def continued(session: Session, before: Inputs | None) -> Session:
    """The session after a run of `before`; itself, if that is nothing."""
    return session if before is None else Continued(session, before)
