"""Commands of the command line: as a process, or in this one where only what is said and the exit code are asked."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from autocompress import cli
from autocompress.trials import work

# a second process takes longer to start than a tiny search takes, and to load what draws takes seconds
_QUICK = {"AUTOCOMPRESS_WORKERS": "1", "AUTOCOMPRESS_REPORT": "0"}

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def environment(folder: Path) -> dict[str, str]:
    """With a cache of its own, and one thread: tiny matrices are slower on two."""
    return os.environ | {"AUTOCOMPRESS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "160"} | _QUICK


def run_process(folder: Path, *arguments: str) -> Done:
    """What a process says that has loaded nothing yet, as a person starts it."""
    command = [sys.executable, "-m", "autocompress", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120)


def run_here(folder: Path, *arguments: str) -> Done:
    """What the console script says in this process, which has loaded torch: seconds less than a new one takes."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    heeded = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["autocompress", *arguments])
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            work.loaded.cache_clear()
            for number, handler in heeded.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
