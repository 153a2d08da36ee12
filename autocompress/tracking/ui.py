"""The MLflow UI on a store: a local server for a database, the address alone where a server already runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.errors import ConfigError, Paused
from autocompress.tracking.connection import artifact_folder

HOST = "127.0.0.1"
USUAL_PORT = 5000  # the browser keeps what a person arranged by address, so the same one is taken when it is free


def serve_ui(uri: str, *pages: str, port: int | None = None, say: Callable[[str], None] = print) -> None:
    """Say where these pages of the store at `uri` are, and serve them until Ctrl-C if no server does."""
    if uri.startswith(("http://", "https://")):
        say("\n".join(f"{uri.rstrip('/')}/{page}" for page in pages))
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would outlive a `kill`
    try:
        with contextlib.suppress(KeyboardInterrupt), server(uri, port) as (process, address):
            say("\n".join([*(f"{address}/{page}" for page in pages), "Ctrl-C stops the server."]))
            process.wait()
            raise Paused(f"the MLflow server at {address} ended by itself, with exit code {process.returncode}.")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def server(uri: str, port: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An MLflow server on the store at `uri` that answers; gone with all its processes afterwards."""
    address = f"http://{HOST}:{_free(port)}"
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    command += ["--host", HOST, "--port", address.rpartition(":")[2]]
    if artifacts := artifact_folder(uri):
        command += ["--artifacts-destination", str(artifacts)]
    # Jobs (LLM judges and the like) would start a dozen more processes.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet |= {"PYTHONSAFEPATH": "1"}  # as -P, for the processes that the server starts
    # A server may leave files where it stands: that must not be the user's folder.
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=folder, env=quiet | os.environ, start_new_session=True
            )
        try:
            _await(process, address, log)
            yield process, address
        finally:
            _stop(process)


def _free(port: int | None) -> int:
    """`port` itself if nothing listens there; if None, the usual one or else any."""
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, candidate))
                return int(probe.getsockname()[1])
    raise ConfigError(f"--port: something else listens there. Got {port}. Leave --port out and a free one is taken.")


def _await(process: subprocess.Popen[bytes], address: str, log: Path, patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{address}/health", timeout=2),
        ):
            return
        time.sleep(0.1)
    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise Paused(f"the MLflow server at {address} did not start: {last}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: they are one process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
