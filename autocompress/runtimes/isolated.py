"""Measure an artefact in a process of its own, which loads its runtime and nothing else.

A process that trained or lowered before has its memory full of that; whoever serves the model has not. And should the
runtime crash, nothing but this measurement is lost.

`python -P -m MODULE` is the process: what is asked comes on standard input, the answer is the last line of its standard
output. This module's own answers are latencies. Without `-P` Python would look into the working directory first, and
run a `json.py` that lies there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autocompress.errors import Unmeasured
from autocompress.runtimes import latency as timing
from autocompress.runtimes.continued import continued
from autocompress.runtimes.runtime import Runtime, find_runtime
from autocompress.space.goals import Measurement
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from autocompress.runtimes.runtime import Inputs

_PATIENCE = 300.0  # seconds
_BEFORE = "before."

Answer = Callable[[Runtime, list[Path], "Inputs", Target], Measurement]


def latency(
    candidate: Path, baseline: Path, batch: Inputs, target: Target, before: Inputs | None = None
) -> Measurement:
    """As `latency.latency`, of the artefacts in two folders. Raises `Unmeasured` if they cannot be run.

    `before`: what each reads first, which it remembers when it is timed.
    """
    return ask("autocompress.runtimes.isolated", "latency", [candidate, baseline], _with(batch, before), target)


def absolute_latency(folder: Path, batch: Inputs, target: Target, before: Inputs | None = None) -> float:
    """As `latency.absolute_latency`, of the artefact in `folder`. Raises `Unmeasured` if it cannot be run."""
    return ask("autocompress.runtimes.isolated", "latency", [folder], _with(batch, before), target)["latency_ms"]


def ask(
    module: str, what: str, folders: Sequence[Path], batch: Inputs, target: Target,
    **variables: str,
) -> Measurement:  # fmt: skip
    """What `python -m module` answers of the artefacts in `folders`, by the target's runtime.

    `what` it measures is for the error: `MemoryError` if the process was killed, `Unmeasured` if it failed otherwise.
    `variables`: of its environment, besides this one's.
    """
    sent = {
        "folders": list(map(str, folders)), "target": target.model_dump(),
        "batch": {name: np.asarray(batch[name]).tolist() for name in batch if name not in ("labels", "index")},
    }  # fmt: skip
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module], input=json.dumps(sent), text=True, capture_output=True,
            timeout=_PATIENCE, env=os.environ | {"PYTHONPATH": path, **variables},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"{what} could not be measured: it took more than {_PATIENCE:.0f} s") from None
    if done.returncode == -signal.SIGKILL:
        raise MemoryError(f"the process that measures {what} was killed: it is out of memory")
    if done.returncode:
        raise Unmeasured(f"{what} could not be measured: {_last_words(done)}")
    answer: Measurement = json.loads(done.stdout.splitlines()[-1])
    return answer


def _with(batch: Inputs, before: Inputs | None) -> Inputs:
    """Both as one: plain data."""
    return {**batch, **{f"{_BEFORE}{name}": x for name, x in (before or {}).items()}}


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"its process died of {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or ["no output"])[-1][:300]


def answer(measured: Answer) -> None:
    """The process's side: read, measure, print."""
    asked = json.load(sys.stdin)
    target = Target(**asked["target"])
    batch = {name: np.array(rows) for name, rows in asked["batch"].items()}
    folders = [Path(folder) for folder in asked["folders"]]
    print(json.dumps(measured(find_runtime(target.runtime), folders, batch, target)))


def _timed(runtime: Runtime, folders: list[Path], batch: Inputs, target: Target) -> Measurement:
    """Of one artefact its milliseconds, of two the ratio."""
    before = {name.removeprefix(_BEFORE): rows for name, rows in batch.items() if name.startswith(_BEFORE)}
    batch = {name: rows for name, rows in batch.items() if not name.startswith(_BEFORE)}
    candidate, *baseline = (continued(runtime.open(folder, target), before or None) for folder in folders)
    if baseline:
        return timing.latency(candidate, baseline[0], batch, target)
    return {"latency_ms": timing.absolute_latency(candidate, batch, target)}


if __name__ == "__main__":
    answer(_timed)
