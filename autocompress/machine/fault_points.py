"""Named points at which a test has processes killed, to show that nothing is lost wherever that happens.

    AUTOCOMPRESS_KILL_AT=aside:2,told:5:all@/tmp/passed autocompress search space.yaml

kills, as `kill -9` does, the process that passes the point `aside` as the second of all processes, and, when `told` is
passed for the fifth time, everything: the process group of who passes it, which is the coordinator with all its
workers. Every file in the folder `/tmp/passed` has as many bytes as its point was passed.
"""

from __future__ import annotations

import os
import signal

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
    "replayed": "the first steps of the winner's recipe are measured, not written down",
}
VARIABLE = "AUTOCOMPRESS_KILL_AT"


def point(name: str) -> None:
    """Die here, if the environment says so."""
    if (asked := os.environ.get(VARIABLE)) is None:
        return
    fatal, _, folder = asked.partition("@")
    with open(os.path.join(folder, name), "ab", buffering=0) as file:
        file.write(b".")
        passage = f"{name}:{file.tell()}"  # appended whole, so no two processes have the same
    if passage in fatal.split(","):
        os.kill(os.getpid(), signal.SIGKILL)
    if f"{passage}:all" in fatal.split(","):
        os.killpg(0, signal.SIGKILL)
