"""The report as files of the study's own run in MLflow: found by its tags, and uploaded when it has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from autocompress.tracking.connection import connect
from autocompress.tracking.runs import STUDY

_MARK = (
    "mlflow.autocompress.report"  # a tag with what was uploaded; MLflow's pages hide those that begin with "mlflow."
)


def upload(uri: str, study_id: str, folder: Path) -> None:
    """Log the folder's files below report/. Does nothing if there is no such run, or if it has them."""
    client = connect(uri)
    ours = f"tags.`autocompress.study_id` = '{study_id}' and tags.`autocompress.kind` = '{STUDY}'"
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, ours, max_results=1) if experiments else []
    mark = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()[:16]
    if runs and runs[0].data.tags.get(_MARK) != mark:
        client.log_artifacts(runs[0].info.run_id, str(folder), "report")
        client.set_tag(runs[0].info.run_id, _MARK, mark)
