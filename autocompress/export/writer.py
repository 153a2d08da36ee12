"""The folder that ships: the measured artefact, the module, the tokenizer, and how they came to be.

    model.onnx         (or the runtime's own file) the artefact that was measured
    model.safetensors  config.json  structure.json  precision.json   the module: `autocompress.load(DIR)`
    tokenizer files    recipe.yaml  measurement.json  serving.json  README.md  files.json

Nothing in it is a pickle or code.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from autocompress.engine import identity
from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError
from autocompress.export import files
from autocompress.export.model_card import card
from autocompress.machine import cache
from autocompress.serving.folder import MEASURED, SERVING, Measured, Scored, Serving, digest_of
from autocompress.space.goals import Measurement
from autocompress.space.language.yaml_lines import write_yaml
from autocompress.tasks.task import Task
from autocompress.tasks.tokenization import padding
from autocompress.trials.artefacts import kept, remeasured, trial_key
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Job
from autocompress.trials.work import bench_of

Judged = Callable[[Trial], dict[str, float]]


def export(study: StudyState, trial: Trial, to: Path, judged: Judged, remake: Callable[[Trial], None]) -> Path:
    """Write `trial` to `to`: a new or empty folder, or an export that is replaced (see `files`).

    A trial that left the front is made again first, by `remake`; `judged` gives its score on the test split.
    """
    if trial.state != "complete":
        raise ConfigError(f"{trial.label} is {trial.state}: only a complete trial can be exported. {trial.reason}")
    files.check(to)
    place = study.folder / trial_key(trial.number)
    with kept(place):
        if not (place / "artefact").exists():
            remake(trial)
        scores = judged(trial)
        cache.write_folder(to.resolve(), lambda draft: _fill(draft, study, trial, place, scores))
    return to


def _fill(draft: Path, study: StudyState, trial: Trial, place: Path, scores: dict[str, float]) -> None:
    bench = bench_of(study.data)
    for source in (place / "model", place / "artefact"):
        shutil.copytree(source, draft, dirs_exist_ok=True)
    bench.task.tokenizer.save_pretrained(draft)
    write_yaml(draft / "recipe.yaml", {"seed": study.space.search.seed, "steps": trial.recipe.dump()})
    serving, measured = _serving(study, bench.task), _measured(study, trial, scores)
    cache.write_json(draft / SERVING, serving.model_dump(mode="json"))
    cache.write_json(draft / MEASURED, measured.model_dump(mode="json"))
    assert study.baseline
    artefact = bench.runtime.artefact(draft).name
    said = card(
        study.name, study.space, trial, study.front, study.baseline, serving, measured, artefact, study.broken(trial)
    )
    (draft / "README.md").write_text(said)
    files.note(draft)


def _serving(study: StudyState, task: Task) -> Serving:
    texts, space = task.texts, study.space
    scored = {
        which: digest_of(split.texts, split.labels, texts.kind)
        for which, split in (("validation", texts.validation), ("test", texts.test))
    }
    return Serving(
        target=space.target, labels=texts.labels, task=space.task, seed=space.search.seed, texts=Scored(**scored),
        inputs=padding(task.tokenizer),
    )  # fmt: skip


def _measured(study: StudyState, trial: Trial, scores: dict[str, float]) -> Measured:
    assert study.baseline
    record, several = study.record, study.confirmed.get(trial.number, {})
    again = _remeasured(study, trial)
    means = {name if name == "seeds" else f"mean_{name}": value for name, value in several.items()}
    return Measured(
        trial=trial.measurement | again | means | {"test_score": scores["test_score"]},
        baseline=study.baseline.measurement | {"test_score": scores["baseline_test_score"]},
        metric=study.space.task.metric, target=study.space.target,
        machine=record["machine"], versions=record["versions"],
        runtime=record.get("runtime") or bench_of(study.data).runtime.describe(),
        isolated=bool(again),
    )  # fmt: skip


def _remeasured(study: StudyState, trial: Trial) -> Measurement:
    """Its latency in a process of its own; nothing, and a warning, if that cannot be measured."""
    if not identity.unchanged(study):  # of this machine or version, its figures would say nothing beside the study's
        return remeasured(study.artefacts, trial.number)
    job = Job("remeasure", study.data, trial.number, trial.recipe.dump())
    result = InlineExecutor(lambda *_: None).submit(job).result()
    if result.failure:
        said = f"{trial.label} keeps the latency that the search measured: {result.failure.reason}"
        warnings.warn(said, stacklevel=2)
    return result.measurement
