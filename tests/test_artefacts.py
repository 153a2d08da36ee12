"""A worker needs the job and the artefacts, and nothing of the study's folder: what a cluster will ask of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.machine import fingerprint
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials.artefacts import LocalArtefacts, remeasured, trial_key
from autocompress.trials.job import Job, Result, StudyData

RECIPE = Recipe.load(
    [{"layers": {}}, {"soft_labels": {}}, {"finetune": {"epochs": 2, "lr": 5e-3}}, {"int8_dynamic": {}}]
)
WORKER = """
import json, sys
import torch
from autocompress.trials.job import Job, StudyData
from autocompress.trials.perform import perform

torch.set_num_threads(1)
for line in sys.stdin:  # a worker lives for many jobs
    job = json.loads(line)
    found = perform(Job(**job | {"study": StudyData(**job["study"])}), lambda *_: None)
    said = {"measurement": found.measurement, "trained": found.trained, "machine": found.machine, "rungs": found.rungs}
    print("answer", json.dumps(said | {"failure": found.failure and [found.failure.reason, found.failure.traceback]}))
"""


def done(jobs: list[Job], folder: Path) -> list[dict[str, Any]]:
    """By a worker that knows nothing but the jobs, in a working directory of its own."""
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-P", "-c", WORKER], input="\n".join(json.dumps(asdict(job)) for job in jobs), text=True,
        capture_output=True, cwd=folder, env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    answers = [
        json.loads(line.removeprefix("answer ")) for line in ran.stdout.splitlines() if line.startswith("answer ")
    ]
    assert not [answer["failure"] for answer in answers if answer["failure"]]
    return answers


def test_every_job_is_done_from_the_job_alone(project: Path, tmp_path: Path) -> None:
    study = Study.create(project)
    before = sorted(p.name for p in study.folder.rglob("*"))
    made = LocalArtefacts(tmp_path / "made")
    data = replace(study.data, artefacts=str(tmp_path / "made"))
    [baseline] = done([Job("baseline", data)], tmp_path / "here")
    assert baseline["measurement"]["score"] > 0.9

    data = replace(data, reference_ms=baseline["measurement"]["latency_ms"])
    kinds = ("applies", "rehearse", "train", "evaluate", "remeasure", "judge")
    answers = dict(
        zip(kinds, done([Job(kind, data, 3, RECIPE.dump()) for kind in kinds], tmp_path / "there"), strict=True)
    )
    assert answers["train"]["trained"]
    assert answers["evaluate"]["measurement"]["size_mb"] == pytest.approx(answers["rehearse"]["measurement"]["size_mb"])
    assert 0 <= answers["judge"]["measurement"]["test_score"] <= 1
    assert answers["judge"]["machine"] == study.record["machine"]

    artefact = made.get(f"{trial_key(3)}/artefact")
    assert artefact
    assert (artefact / "model.onnx").is_file()
    assert made.get(f"{trial_key(3)}/model")
    assert made.read(f"{trial_key(3)}/curve.jsonl")
    assert len(json.loads(made.read("answers/003.json") or "")) == 64
    assert remeasured(made, 3) == answers["remeasure"]["measurement"]
    assert sorted(p.name for p in study.folder.rglob("*")) == before, "the study's folder is the coordinator's"


def test_a_latency_counts_from_the_studys_own_kind_of_machine_only(project: Path) -> None:
    from autocompress.trials.perform import perform

    here = fingerprint.machine()
    data = replace(Study.create(project).data, machine=here | {"cores": "999"})
    found = perform(Job("rehearse", data, 0, RECIPE.dump()), lambda *_: None)
    assert found == Result(failure=found.failure, machine=found.machine)
    assert found.failure
    assert found.failure.reason == (
        "latencies of this study are measured on another machine than this worker's "
        f"(cores: 999 there, {here['cores']} here)"
    )
    assert StudyData().machine == {}
