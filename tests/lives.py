"""Searches in processes that a test may kill. One process has loaded everything, and forks for every life of a search:
so a life begins at once. Its workers are forked too, from a server that the life forks before it does anything else;
or, where a test asks for it, `spawned` as users have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from autocompress.machine import fault_points

# Latency is computed, and takes a moment. Every process says what it is doing: its id in a file of that name.
_SCRIPT = """
import json, os, signal, sys, time, traceback
from multiprocessing import forkserver, resource_tracker, util
import autocompress
from autocompress.runtimes import isolated
from autocompress.runtimes import latency as timing
from autocompress.trials import stages
from autocompress.trials.executors import processes

ratios = {"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "latency_tail": 1.2, "latency_runs": 9.0}
stepped = stages.Ascent.stepped


def say(doing):
    if pause := float(os.environ.get("PAUSE", 0)):
        with open(doing, "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(pause)


def latency(*args, **kwargs):
    say("measures")
    return dict(ratios)


def after_step(*args):
    say("trains")
    stepped(*args)


timing.latency, timing.absolute_latency, stages.Ascent.stepped = latency, lambda *a, **k: 3.0, after_step
isolated.latency = lambda *a, **k: dict(ratios)


def forked(path, arguments, passed):
    # in place of a new Python that runs the last argument: a copy of this one, with the files a new one would have
    if pid := os.fork():
        return pid
    try:
        for file in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *passed}:
            try:
                os.close(file)
            except OSError:  # the one that listed them
                pass
        exec(arguments[-1])
    finally:
        os._exit(0)


def fork_workers():
    resource_tracker.ensure_running()
    forkserver.set_forkserver_preload([])
    spawn, util.spawnv_passfds = util.spawnv_passfds, forked
    forkserver.ensure_running()
    util.spawnv_passfds, processes._START = spawn, "forkserver"


def live(life):
    os.setsid()
    signal.alarm(900)  # a search that hangs is a failure, one on a busy machine is none
    os.chdir(life["folder"])
    os.environ.update(life["environment"])
    os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 1)
    os.dup2(1, 2)
    if life["workers"] > 1 and not life["spawned"]:
        fork_workers()
    autocompress.search("space.yaml", name="killed", workers=life["workers"])


if __name__ == "__main__":
    # All that a search imports, but for onnxruntime: that begins a thread, which a fork would lose.
    import mlflow.store.tracking.sqlalchemy_store
    import onnx
    import transformers.models.bert.modeling_bert
    from optuna.storages import RDBStorage
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    import autocompress.study
    import autocompress.tracking.observer
    import autocompress.trials.perform
    from autocompress.models.students import students
    from autocompress.space.method import methods

    methods(), students()
    for line in sys.stdin:
        if not (pid := os.fork()):
            try:
                live(json.loads(line))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Life(NamedTuple):
    """What became of one."""

    exitcode: int
    left: list[psutil.Process]  # its workers and their helpers that did not end with it
    passed: dict[str, int]  # point -> how often


class Lives:
    """`live` runs a search in the folder of a project until it ends or is killed."""

    def __init__(self, folder: Path) -> None:
        (folder / "search.py").write_text(_SCRIPT)
        self._process = subprocess.Popen(
            [sys.executable, str(folder / "search.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._count = 0

    def live(
        self, project: Path, fatal: str = "", workers: int = 1, meanwhile: Callable[[int], object] | None = None,
        pause: float = 0, spawned: bool = False,
    ) -> Life:  # fmt: skip
        """`fatal`: the passages that kill, as `faults` takes them. `meanwhile` is told the coordinator's process id.
        `pause`: seconds that every training step and measurement takes longer."""
        self._count += 1
        points = project / f"passed{self._count}"
        points.mkdir()
        cache, pausing = str(project / "cache"), str(pause) if pause else "0"
        environment = {fault_points.VARIABLE: f"{fatal}@{points}", "AUTOCOMPRESS_CACHE": cache, "PAUSE": pausing}
        asked = {"folder": str(project), "environment": environment, "workers": workers, "spawned": spawned}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        pid = int(self._process.stdout.readline())
        if meanwhile:
            meanwhile(pid)
        exitcode = int(self._process.stdout.readline())
        left = psutil.wait_procs(list(_session(pid)), timeout=10)[1]
        return Life(exitcode, left, {file.name: file.stat().st_size for file in points.iterdir()})

    def close(self) -> None:
        self._process.communicate()


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a coordinator."""
    found = []
    for process in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def strike_each(pid: int, said: Path) -> list[int]:
    """Kill each of the three workers of a coordinator once it says that it is at it; their process ids."""
    struck = list[int]()
    while len(now := [w.pid for w in workers_of(pid)]) < 3:
        time.sleep(0.05)
    said.write_text("")
    while (missing := set(now) - set(struck)) and psutil.pid_exists(pid):
        for worker in missing & {int(word) for word in said.read_text().split()}:
            psutil.Process(worker).kill()
            struck.append(worker)
        time.sleep(0.01)
    return struck


def _session(pid: int) -> Iterator[psutil.Process]:
    """The processes that a life has left."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                yield process
