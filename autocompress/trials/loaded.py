"""What a process has loaded of one study: its space, texts, runtime, and what other jobs made. Each is loaded once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch

from autocompress.models import input_limits, loading
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Runtime, Session, find_runtime
from autocompress.space import stored_space
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch
from autocompress.tasks.task import Task
from autocompress.tasks.workload import Workload
from autocompress.trials import fingerprints
from autocompress.trials import teacher as teachers
from autocompress.trials.artefacts import Artefacts, find
from autocompress.trials.job import StudyData

_BASELINE = "baseline"  # the key of its artefact
_CALIBRATION_TEXTS, _CALIBRATION_BATCH = 128, 32


class Loaded:
    """Of a study."""

    def __init__(self, study: StudyData) -> None:
        self.study = study  # as the latest job has it

    @cached_property
    def space(self) -> SearchSpace:
        return stored_space.read(self.study.space, Path(self.study.root))

    @cached_property
    def artefacts(self) -> Artefacts:
        return find(self.study.artefacts)

    def made(self, key: str) -> Path:
        """The folder that an earlier job made. Raises `FileNotFoundError`."""
        if (place := self.artefacts.get(key)) is None:
            raise FileNotFoundError(f"{key}: there is no such artefact of this study")
        return place

    @cached_property
    def target(self) -> Target:
        return self.space.target

    @cached_property
    def runtime(self) -> Runtime:
        return find_runtime(self.target.runtime)

    @cached_property
    def source(self) -> str:
        """Where the model to compress lies."""
        return loading.locate(self.space.model, self.space.root)

    @cached_property
    def teacher_source(self) -> str:
        """The checkpoint that the teacher starts from or is."""
        return teachers.locate(self.space, self.source)

    @cached_property
    def task(self) -> Task:
        tokenizer = loading.load_tokenizer(self.source)
        named = {"model": self.source} | (
            {} if self.teacher_source == self.source else {"teacher": self.teacher_source}
        )
        limits = {name: loading.limits(source, tokenizer) for name, source in named.items()}
        input_limits.fit(tokenizer, limits.values())
        input_limits.check(tokenizer, limits, self.target, self.space.task)
        task = Task.load(self.space.task, tokenizer, self.space.search.seed, self.space.root)
        fingerprints.check(self.study.inputs, task.texts)
        return task

    @cached_property
    def example(self) -> Batch:
        """The batch that latency is measured on."""
        return latency.latency_batch(self.task.validation, self.target)

    @cached_property
    def runs(self) -> tuple[Workload, ...]:
        """What is timed."""
        return self.task.kind.workloads(self.example)

    @cached_property
    def calibration(self) -> list[Batch]:
        return list(self.task.train_head(_CALIBRATION_TEXTS).batches(_CALIBRATION_BATCH))

    def to_score(self, artefact: Path) -> Session:
        """The artefact on all of this worker's threads: what it answers does not depend on them, as its latency does.

        Compiled code is made for so many threads as the target has, and takes long to make.
        """
        threads = self.target.threads if self.target.compile else torch.get_num_threads()
        return self.runtime.open(artefact, self.target.model_copy(update={"threads": threads}))

    @property
    def baseline_folder(self) -> Path:
        """Where the baseline's artefact lies."""
        return self.made(_BASELINE)

    @cached_property
    def baseline(self) -> Session:
        return self.runtime.open(self.baseline_folder, self.target)
