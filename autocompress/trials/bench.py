"""What a process needs to do the jobs of one study: model, teacher, data, runtime, baseline. Each is loaded once."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autocompress.errors import NotFinite
from autocompress.machine import cache, disk, fingerprint
from autocompress.methods.context import Context, Course, OnStep, Teacher
from autocompress.methods.training.finetune import Finetune
from autocompress.models import input_limits, loading, storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import flops, latency, peak_memory
from autocompress.runtimes.runtime import Runtime, Session, find_runtime
from autocompress.space import keys, stored_space
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch
from autocompress.tasks.task import Task
from autocompress.trials import fingerprints
from autocompress.trials import teacher as teachers
from autocompress.trials.artefacts import Artefacts, find
from autocompress.trials.job import StudyData
from autocompress.trials.put_aside import Aside, Resumable
from autocompress.trials.scoring import Scorer

_BASELINE = "baseline"  # the key of its artefact
_CALIBRATION_TEXTS, _CALIBRATION_BATCH = 128, 32
_NO_GPU_TRAINING = (
    "This machine has a GPU, but autocompress trains on the CPU only: expect trainings to take CPU time. "
    "With `target: {device: cuda}` models are measured on the GPU."
)


class Workbench:
    """What the jobs of one study share."""

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
    def calibration(self) -> list[Batch]:
        return list(self.task.train_head(_CALIBRATION_TEXTS).batches(_CALIBRATION_BATCH))

    @cached_property
    def teacher_source(self) -> str:
        """The checkpoint that the teacher starts from or is."""
        return teachers.locate(self.space, self.source)

    @cached_property
    def teacher_plan(self) -> teachers.Plan:
        """Where the teacher begins, whether it is fine-tuned, and why."""
        return teachers.plan(self.space, self.source, self.task)

    @property
    def schooling(self) -> Finetune | None:
        """The fine-tuning that makes the teacher, or None if its checkpoint is fine-tuned already."""
        return self.teacher_plan.training

    @property
    def _new_head(self) -> bool:
        """Whether the head that the checkpoint has would mislead its fine-tuning."""
        return bool(self.teacher_plan.reason)

    @cached_property
    def teacher_key(self) -> str:
        """Equal keys, equal teachers."""
        checkpoint = loading.identity(self.teacher_source)
        training, seed = self.teacher_plan.training, self.space.search.seed
        return keys.teacher(checkpoint, self.task.fingerprint, training, seed, new_head=self._new_head)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the data and of the teacher."""
        lesson = self.schooling
        if lesson is None:
            taught = f"The teacher and baseline is {self.teacher_source} as given: it is fine-tuned already."
        else:
            knobs = ", ".join(f"{k} {v}" for k, v in lesson.model_dump(mode="json").items())
            since = f", since {self.teacher_plan.reason}" if self.teacher_plan.reason else ""
            taught = f"The teacher and baseline is {self.space.model}, fine-tuned first ({knobs}){since}."
        return (*self.task.notes, taught, *([_NO_GPU_TRAINING] if torch.cuda.is_available() else []))

    def teach(self, on_step: OnStep, deadline: float = math.inf) -> Path:
        """The teacher's folder; it is made on the first call, for every study of the same model, data and seed.

        Raises `PutAside` if its training is not done at the deadline, in seconds since 1970.
        """
        aside = Aside(self.artefacts, "aside", deadline)
        place = cache.folder("teachers", self.teacher_key, lambda draft: self._teach(draft, on_step, aside))
        aside.forget()
        return place

    def _teach(self, folder: Path, on_step: OnStep, aside: Aside) -> None:
        torch.manual_seed(self.space.search.seed)
        model = loading.load_classifier(self.teacher_source, self.task.labels, new_head=self._new_head)
        course = Resumable(on_step, aside, self.teacher_key)
        if self.schooling:
            nobody = Teacher(lambda: model)
            seed = self.space.search.seed
            ctx = Context(nobody, self.calibration, self.target, self.task.train, seed, course)
            ctx.score = self.scorer.epoch
            model = self.schooling.apply(model, ctx)
        teachers.finite_logits(model.eval(), self.task.train.head(_CALIBRATION_TEXTS), self.teacher_source)
        cache.write_json(folder / "record.json", {"seconds": course.seconds})
        storage.save(model, folder)

    @cached_property
    def teacher(self) -> Teacher:
        return Teacher(lambda: storage.load(self.teach(lambda *_: None)), self._teacher_logits)

    def _teacher_logits(self) -> Tensor:
        """(N, C), of all training texts: computed once a teacher, when something first learns from them."""

        def compute(folder: Path) -> None:
            logits_NC = teachers.finite_logits(self.teacher.model, self.task.train, self.teacher_source)
            save_file({"logits_NC": logits_NC}, folder / "logits.safetensors")

        place = cache.folder("teacher_logits", self.teacher_key, compute)
        logits_NC: Tensor = load_file(place / "logits.safetensors")["logits_NC"]
        return logits_NC

    @property
    def teacher_seconds(self) -> float:
        """What its fine-tuning took."""
        record: dict[str, float] = json.loads((self.teach(lambda *_: None) / "record.json").read_text())
        return record["seconds"]

    @cached_property
    def start(self) -> nn.Module:
        """What every trial begins from."""
        if self.space.start == "pretrained":
            torch.manual_seed(self.space.search.seed)
            return loading.load_classifier(self.source, self.task.labels).eval()
        return self.teacher.model

    @property
    def baseline_folder(self) -> Path:
        """Where the baseline's artefact lies."""
        return self.made(_BASELINE)

    def check_target(self) -> None:
        """Raise `NotApplicable` if nothing at all runs there. Asked before anything is trained for it."""
        self.runtime.support(PrecisionPlan(), self.target)

    def lower_baseline(self) -> None:
        """Write the baseline's artefact, unless it is there."""
        if self.artefacts.get(_BASELINE) is None:
            lower, model = self.runtime.lower, self.teacher.model
            self.artefacts.put(_BASELINE, lambda draft: lower(model, PrecisionPlan(), self.example, draft))

    @cached_property
    def baseline(self) -> Session:
        return self.runtime.open(self.baseline_folder, self.target)

    @property
    def reference_ms(self) -> float:
        """The baseline's latency on this machine, to which every ratio is applied."""
        return self.study.reference_ms

    @cached_property
    def surroundings(self) -> str:
        """What, besides a candidate's shapes, decides its size and latency."""
        signatures = [storage.signature(model, PrecisionPlan()) for model in (self.teacher.model, self.start)]
        target, machine = self.target.model_dump(mode="json"), fingerprint.machine(self.target.device)
        return keys.surroundings(signatures, target, self.runtime.describe(), machine, [self._measures_memory])

    @property
    def _measures_memory(self) -> bool:
        """Only where somebody asks: it takes seconds."""
        return self.space.goals.speak_of("peak_memory_mb")

    def seed_of(self, recipe: Recipe, repeat: int = 0) -> int:
        """What is trained alike gets the same seed, in every study with the same one."""
        return keys.seed(self.space.search.seed, recipe, repeat)

    def prefix_key(self, recipe: Recipe, repeat: int = 0) -> str:
        """Equal keys, equal models once these steps are done: of what every study of this model and data shares."""
        return keys.prefix(self._origin, recipe, self.space.search.seed, repeat)

    @cached_property
    def _origin(self) -> str:
        own = loading.identity(self.source) if self.space.start == "pretrained" else ""
        return keys.origin(self.teacher_key, self.space.start, own)

    def context(
        self, seed: int, plan: PrecisionPlan | None = None, course: Course | None = None, *, rehearsal: bool = False
    ) -> Context:
        """The surroundings of a recipe's steps; in a rehearsal without training texts and teacher logits."""
        train = None if rehearsal else self.task.train
        teacher = Teacher(lambda: self.teacher.model) if rehearsal else self.teacher
        return Context(
            teacher, self.calibration, self.target, train, seed, course or Course(),
            precision=PrecisionPlan() if plan is None else plan,
        )  # fmt: skip

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer(self.artefacts, self.task, self.target.batch_size, lambda: self.baseline)

    def baseline_score(self) -> float:
        """On the validation split. Raises `ConfigError` where it is no better than guessing, or no number."""
        try:
            score = self.scorer.baseline()
        except NotFinite as e:
            raise teachers.not_finite(self.teacher_source, e) from e
        if fault := self.scorer.baseline_fault():
            raise teachers.guesses(self.teacher_plan, fault)
        return score

    def sizes(self, model: nn.Module, folder: Path) -> Measurement:
        """Megabytes of the artefact, what the module holds and multiplies, and the memory to run it if a goal asks."""
        sizes = {"size_mb": latency.size_mb(self.runtime.artefact(folder))}
        sizes |= flops.measure_module(model, self.example)
        if self._measures_memory:
            sizes["peak_memory_mb"] = peak_memory.peak_memory_mb(folder, self.example, self.target)
        return sizes

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="autocompress-") as folder, disk.with_room(Path(folder)):
            yield Path(folder)
