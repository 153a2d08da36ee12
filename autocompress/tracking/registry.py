"""An exported folder in MLflow's model registry, as a version that `mlflow models serve` serves.

The version brings the source of autocompress along (`code/`), because no package index may have it; what is to be
installed besides is little and pinned. It belongs to the trial's run, and stays as it is when the trial is registered
again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.errors import ConfigError, Paused
from autocompress.tracking.connection import connect, shown
from autocompress.tracking.trouble import cause

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

ALIAS = "champion"
_HERE = Path(__file__).parent
_PORT = 5001  # 5000 is the MLflow UI's
_NAME = re.compile(r"[\w-][\w .-]{0,199}")  # MLflow forbids `/` and `:`; `@` begins an alias


@dataclass(frozen=True)
class Card:
    """What a person sees of a version, what a program sends to it, and what must be installed to serve it."""

    description: str  # markdown
    tags: dict[str, str]
    columns: tuple[str, ...]
    answers: Mapping[str, type]  # the columns of what comes back
    packages: tuple[str, ...]
    options: Mapping[str, int] = field(default_factory=dict)  # whole numbers that may be sent too, and the usual ones


@dataclass(frozen=True)
class Registered:
    """A version of a registered model."""

    name: str
    version: str
    uri: str  # of MLflow
    columns: tuple[str, ...]

    @property
    def serve(self) -> str:
        """The command that serves it, with what a shell does not know yet: MLflow looks for uvicorn in PATH."""
        where = "" if shutil.which("uvicorn") else f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
        where += "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={shlex.quote(self.uri)} "
        model = shlex.quote(f"models:/{self.name}@{ALIAS}")
        return f"{where}mlflow models serve --env-manager local --host 127.0.0.1 --port {_PORT} -m {model}"

    @property
    def ask(self) -> str:
        """The command that asks it."""
        row = ", ".join(f'"{name}": "some text"' for name in self.columns)
        body = shlex.quote(f'{{"dataframe_records": [{{{row}}}]}}')
        return f"curl 127.0.0.1:{_PORT}/invocations -H 'Content-Type: application/json' -d {body}"

    def __str__(self) -> str:
        said = f"Registered as version {self.version} of {self.name!r}, its {ALIAS}. To serve it, and to ask:"
        return f"{said}\n\n  {self.serve}\n  {self.ask}"


def checked_name(name: str) -> str:
    """`name`, if a model may be registered by it. Raises `ConfigError`."""
    if not _NAME.fullmatch(name):
        rule = "a model's name should be at most 200 letters, digits, dots, dashes, underscores or spaces"
        raise ConfigError(f"--register: {rule}, the first no dot or space. Got {name!r}.")
    return name


def register(uri: str, run_id: str, folder: Path, name: str, card: Card) -> Registered:
    """Log `folder` as a model of that run and make it the champion of `name`. Raises `Paused` for trouble at MLflow."""
    try:
        client = connect(uri)
        run = client.get_run(run_id)
        with _logged(client, run, name) as model, tempfile.TemporaryDirectory() as scratch:
            _save(Path(scratch) / "model", folder, model, card)
            client.log_model_artifacts(model.model_id, str(Path(scratch) / "model"))
        made = _version(client, run, model, name, card)
    except Exception as error:  # a server that is gone, a full disk, no rights: MLflow has its own for each store
        raise Paused(f"MLflow at {shown(uri)} did not take the model ({cause(error)}).") from error
    return Registered(name, made, uri, card.columns)


@contextmanager
def _logged(client: MlflowClient, run: Run, name: str) -> Iterator[LoggedModel]:
    """A logged model of this run with its metrics, ready at the end."""
    from mlflow.entities import LoggedModelOutput, Metric

    experiment = run.info.experiment_id
    model = client.create_logged_model(experiment, name, source_run_id=run.info.run_id, params=run.data.params)
    try:
        yield model
    except BaseException:
        with contextlib.suppress(Exception):
            client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    metrics = [
        Metric(key, value, run.info.end_time, 0, model_id=model.model_id, run_id=run.info.run_id)
        for key, value in run.data.metrics.items()
        if not key.startswith("train/")
    ]
    client.log_batch(run.info.run_id, metrics)


def _save(place: Path, folder: Path, model: LoggedModel, card: Card) -> None:
    """The folder that `mlflow models serve` loads. With a file as `python_model` nothing is pickled."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    types = {str: DataType.string, float: DataType.double}
    options = [ParamSpec(name, DataType.long, usual) for name, usual in card.options.items()]
    mlflow.pyfunc.save_model(
        str(place), python_model=str(_HERE / "served.py"), code_paths=[str(_HERE.parent)],
        artifacts={"exported": str(folder.resolve())}, pip_requirements=_pinned((*card.packages, "mlflow")),
        signature=ModelSignature(
            Schema([ColSpec(DataType.string, name) for name in card.columns]),
            Schema([ColSpec(types[kind], name) for name, kind in card.answers.items()]),
            **({"params": ParamSchema(options)} if options else {}),
        ),
        input_example=pd.DataFrame({name: ["some text"] for name in card.columns}),
        mlflow_model=Model(
            artifact_path=model.artifact_location, run_id=model.source_run_id, model_id=model.model_id,
            model_uuid=model.model_id,
        ),
    )  # fmt: skip


def _pinned(packages: tuple[str, ...]) -> list[str]:
    """As installed here. An index has no local versions such as 2.9.0+cpu."""
    return [f"{package}=={version(package).partition('+')[0]}" for package in sorted(packages)]


def _version(client: MlflowClient, run: Run, model: LoggedModel, name: str, card: Card) -> str:
    """A new version of the registered model, which is made if there is none of that name, as its champion."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"models:/{model.model_id}"
    made = client.create_model_version(
        name, source, run.info.run_id, card.tags, description=card.description[:5000], model_id=model.model_id
    )
    client.set_registered_model_alias(name, ALIAS, made.version)
    return str(made.version)
