"""Named points at which a test has a process killed, to show that nothing is lost wherever that happens.

    AUTOCOMPRESS_KILL_AT=told:2:/tmp/mark autocompress search space.yaml

kills, as `kill -9` does, the process that passes the point `told` for the second time, unless the file `/tmp/mark` is
there; the file is made first, so of all processes and their successors only one dies.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

POINTS = {
    "baseline": "the baseline is measured, not written down",
    "asked": "a new trial is in the database, nothing else knows of it",
    "rehearsed": "its size and latency are known, not told",
    "aside": "its training was put aside at a rung",
    "entry": "a folder (of the cache, an artefact, what is put aside) is written, not in its place",
    "trained": "the last stage is in the cache, the trial still has what it put aside",
    "lowered": "the artefact is written, not measured",
    "evaluated": "all is measured, not told",
    "told": "the trial has ended in the database; its files are not tidied up, MLflow knows nothing",
    "logged": "MLflow has it",
    "confirmed": "a finalist was trained once more, not written down",
}
VARIABLE = "AUTOCOMPRESS_KILL_AT"

_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Die here, if the environment says so."""
    if (asked := os.environ.get(VARIABLE)) is None:
        return
    wanted, count, mark = asked.split(":")
    _passed[name] += 1
    if name == wanted and _passed[name] == int(count):
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
