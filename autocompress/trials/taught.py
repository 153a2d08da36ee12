"""The teacher of a study, which is its baseline: where it begins, how it is made, what it says of training texts."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autocompress.machine import cache, fingerprint
from autocompress.methods.context import Context, OnStep, Teacher
from autocompress.models import loading, storage
from autocompress.models.forward import CPU
from autocompress.space import keys
from autocompress.space.method import Method
from autocompress.trials import arithmetic, fingerprints
from autocompress.trials import teacher as teachers
from autocompress.trials.loaded import Loaded
from autocompress.trials.put_aside import Aside, Resumable
from autocompress.trials.scoring import Scorer

_BASELINE = "baseline"  # the key of its artefact
_CALIBRATION_TEXTS, _CALIBRATION_BATCH = 128, 32
_ON_GPU = (
    "Models are trained on this machine's GPU. To train on the CPU, hide it: CUDA_VISIBLE_DEVICES= before the command."
)


class Taught(Loaded):
    """A study with its teacher."""

    @cached_property
    def device(self) -> torch.device:
        """Where models are trained and asked while they are modules: on a GPU if torch sees one."""
        return torch.device("cuda", 0) if torch.cuda.is_available() else CPU

    @property
    def computes_in(self) -> str:
        """What its trainings compute in. Decided once for the life of a study."""
        return self.study.computes_in or self._chosen

    @cached_property
    def _chosen(self) -> str:
        asked = self.space.search.training_precision
        if asked != "auto":
            return asked
        if not arithmetic.multiplies(self.device):
            return arithmetic.FLOAT32
        return arithmetic.faster(self._step_seconds())

    def _step_seconds(self) -> dict[str, float]:
        """Of a step of the teacher's checkpoint in each format, here."""

        def timed() -> dict[str, float]:
            model = loading.load_model(self.teacher_source, self.task.labels, self.task.kind.head)
            return arithmetic.timed(model, self.calibration[0], self.task.kind, self.device)

        machine = fingerprint.machine(self.device.type)
        key = keys.arithmetic(loading.identity(self.teacher_source), machine, self.device.type)
        return cache.value("arithmetic", key, timed)

    @property
    def trained_on(self) -> str:
        """The kind of device and, where that is not float32, what is computed in, for keys."""
        own = "" if self.computes_in == arithmetic.FLOAT32 else f" {self.computes_in}"
        return f"{self.device.type}{own}"

    @cached_property
    def teacher_plan(self) -> teachers.Plan:
        """Where the teacher begins, whether it is fine-tuned, and why."""
        return teachers.plan(self.space, self.source, self.task, self.device)

    @property
    def teacher_training(self) -> Method | None:
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
        return keys.teacher(
            checkpoint, self.task.fingerprint, training, seed, new_head=self._new_head, device=self.trained_on
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the data and of the teacher."""
        training = self.teacher_training
        if training is None:
            taught = f"The teacher and baseline is {self.teacher_source} as given: it is fine-tuned already."
        else:
            knobs = ", ".join(f"{k} {v}" for k, v in training.model_dump(mode="json").items())
            since = f", since {self.teacher_plan.reason}" if self.teacher_plan.reason else ""
            taught = f"The teacher and baseline is {self.space.model}, fine-tuned first ({knobs}){since}."
        return (
            *self.task.notes,
            *self._unread,
            taught,
            *([_ON_GPU] if self.device != CPU else []),
            *self._in_fewer_bits,
        )

    @property
    def _unread(self) -> tuple[str, ...]:
        if not self.task.texts.unlabelled or fingerprints.reads_unlabelled(self.space):
            return ()
        return ("No recipe reads the texts without labels: transfer_set does, with augmentation: unlabelled.",)

    @property
    def _in_fewer_bits(self) -> tuple[str, ...]:
        if self.computes_in == arithmetic.FLOAT32:
            return ()
        why = ""
        if self.space.search.training_precision == "auto":
            seconds = self._step_seconds()
            share = seconds[arithmetic.BFLOAT16] / seconds[arithmetic.FLOAT32]
            why = f", where a step takes {share:.2f} of its time in float32. training_precision: float32 has that"
        return (f"Models are trained in {self.computes_in}{why}.",)

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
        model = loading.load_model(self.teacher_source, self.task.labels, self.task.kind.head, new_head=self._new_head)
        course = Resumable(on_step, aside, self.teacher_key)
        if self.teacher_training:
            nobody = Teacher(lambda: model)
            seed = self.space.search.seed
            texts = self.task.train
            ctx = Context(nobody, self.calibration, self.target, texts, seed, course, kind=self.task.kind)
            ctx.device, ctx.score, ctx.dtype = self.device, self.scorer.epoch, arithmetic.DTYPES[self.computes_in]
            model = self.teacher_training.apply(model, ctx)
        first = self.task.train.head(_CALIBRATION_TEXTS)
        teachers.check_finite(model.eval(), first, self.teacher_source, self.device)
        cache.write_json(folder / "record.json", {"seconds": course.seconds})
        storage.save(model, folder)

    @cached_property
    def teacher(self) -> Teacher:
        remember = self._teacher_logits if self.task.kind.remembers else None
        return Teacher(lambda: storage.load(self.teach(lambda *_: None)), remember)

    def _teacher_logits(self) -> Tensor:
        """(N, C), of all training texts: computed once a teacher, when something first learns from them."""

        def compute(folder: Path) -> None:
            logits_NC = teachers.finite_logits(self.teacher.model, self.task.train, self.teacher_source, self.device)
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
            return loading.load_model(self.source, self.task.labels, self.task.kind.head).eval()
        return self.teacher.model

    @cached_property
    def scorer(self) -> Scorer:
        batch_size = self.target.batch_size
        return Scorer(self.artefacts, self.task, batch_size, self.to_score, lambda: self.baseline_folder, self.device)
