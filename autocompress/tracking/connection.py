"""Where MLflow is, and a client of it."""

from __future__ import annotations

import logging
import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow retries a request for minutes by default, and a search must not wait for its spectator. It also phones home,
# and prints to standard output, where `--json` must be alone.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def tracking_uri(uri: str | None = None) -> str:
    """`uri`, else what MLFLOW_TRACKING_URI says, else mlflow.db in the current folder. SQLite files become absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    return f"sqlite:///{file.resolve().as_posix()}" if (file := _database(uri)) else uri


def shown(uri: str) -> str:
    """The address without a password."""
    return re.sub("//[^/]*@", "//***@", uri)


def connect(uri: str) -> MlflowClient:
    """A client whose first use is over: importing takes 1.5 s and making a database's tables some seconds."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with _tables_lock(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _tables_lock(uri: str) -> AbstractContextManager[Any]:
    """Two searches that start at once would both make the tables of a new database."""
    if not (folder := artifact_folder(uri)):
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".tables.lock", timeout=60)


def artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of a SQLite store are: beside it. Any other store knows its own place.

    Not `mlruns`: where a folder of that name is, `mlflow ui` takes it for the store and ignores mlflow.db.
    """
    return file.parent / "mlartifacts" if (file := _database(uri)) else None


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
