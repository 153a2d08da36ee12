"""What the jobs of one study share: what recipes begin from and are trained with, and how artefacts are measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from torch import nn

from autocompress.errors import NotApplicable, NotFinite
from autocompress.machine import cache, disk, fingerprint
from autocompress.methods.context import Context, Course, Teacher
from autocompress.models import loading, same_tokens, storage
from autocompress.models.forward import CPU
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import flops, latency, peak_memory, workloads
from autocompress.space import keys
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials import arithmetic
from autocompress.trials import teacher as teachers
from autocompress.trials.prediction.foresight import Foreseer, Foresight
from autocompress.trials.prediction.structure import structure
from autocompress.trials.taught import Taught

_BASELINE = "baseline"  # the key of its artefact
_CALIBRATION_TEXTS, _CALIBRATION_BATCH = 128, 32


class Bench(Taught):
    """Where recipes are carried out and measured."""

    def check_target(self) -> None:
        """Raise `NotApplicable` if nothing at all runs there. Asked before anything is trained for it."""
        self.runtime.support(PrecisionPlan(), self.target)

    def lower_baseline(self) -> None:
        """Write the baseline's artefact, unless it is there."""
        if self.artefacts.get(_BASELINE) is None:
            lower, model = self.runtime.lower, self.teacher.model
            self.artefacts.put(_BASELINE, lambda draft: lower(model, PrecisionPlan(), self.example, draft))

    @property
    def reference_ms(self) -> dict[str, float]:
        """The baseline's latencies on this machine, to which ratios are applied, by what `runs` call their figures."""
        return {"": self.study.reference_ms, **self.study.more_reference_ms}

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
        target, read = self.target.model_dump(mode="json"), self.read_by(recipe)
        return keys.prefix(self._origin, recipe, self.space.search.seed, repeat, target, self.trained_on, read)

    def rehearsal_key(self, recipe: Recipe) -> str:
        """Equal keys, equal sizes and latencies."""
        corpus = self.task.fingerprint if any(method.uses_corpus for method in recipe) else ""
        return keys.rehearsal(recipe, self.surroundings, corpus, self.read_by(recipe))

    def read_by(self, recipe: Recipe) -> list[str]:
        """The fingerprints of what it reads besides the model and the task: checkpoints, texts without labels."""
        texts = [self.task.unlabelled_fingerprint] if any(method.uses_unlabelled for method in recipe) else []
        return [*(self._checkpoint(name) for method in recipe for name in method.checkpoints()), *texts]

    def _checkpoint(self, name: str) -> str:
        """Its fingerprint: read once, for the study is held to it from the start."""
        if name not in self._checkpoints:
            self._checkpoints[name] = loading.identity(loading.checkpoint(name, self.space.root))
        return self._checkpoints[name]

    @cached_property
    def _checkpoints(self) -> dict[str, str]:
        return {}

    def load(self, name: str) -> nn.Module:
        """The checkpoint of that name, with a head for the task. `NotApplicable` where it reads texts otherwise."""
        place = loading.checkpoint(name, self.space.root)
        theirs = loading.load_tokenizer(place)
        if difference := same_tokens.difference(self.task.tokenizer, theirs, self.task, pair_types=False):
            raise NotApplicable(f"{name} has another tokenizer than the model: {difference}")
        return loading.load_model(place, self.task.labels, self.task.kind.head)

    @cached_property
    def _origin(self) -> str:
        own = loading.identity(self.source) if self.space.start == "pretrained" else ""
        return keys.origin(self.teacher_key, self.space.start, own)

    def context(
        self, seed: int, plan: PrecisionPlan | None = None, course: Course | None = None, *, rehearsal: bool = False
    ) -> Context:
        """The surroundings of a recipe's steps; in a rehearsal without training texts and teacher logits, on a CPU."""
        train = None if rehearsal else self.task.train
        teacher = Teacher(lambda: self.teacher.model) if rehearsal else self.teacher
        return Context(
            teacher, self.calibration, self.target, train, seed, course or Course(),
            precision=PrecisionPlan() if plan is None else plan, kind=self.task.kind,
            device=CPU if rehearsal else self.device, corpus=lambda: self.task.corpus, cost=self.cost, load=self.load,
            dtype=arithmetic.DTYPES[self.computes_in],
            unlabelled=self.task.unlabelled if self.task.texts.unlabelled else None,
        )  # fmt: skip

    def baseline_score(self) -> float:
        """On the validation split. Raises `ConfigError` where it is no better than guessing, or no number."""
        try:
            score = self.scorer.baseline()
        except NotFinite as e:
            raise teachers.not_finite(self.teacher_source, e) from e
        if fault := self.scorer.baseline_fault():
            raise teachers.guesses(self.teacher_plan, fault)
        return score

    def shape(self, model: nn.Module, plan: PrecisionPlan, artefact: Path | None = None) -> Measurement:
        """Size and latency, which equal shapes have alike: measured once, on `artefact` or on one that is thrown
        away.
        """

        def measured() -> Measurement:
            with self.scratch() as scratch:
                if artefact is None:
                    self.runtime.lower(model, plan, self.example, scratch)
                session = self.runtime.open(artefact or scratch, self.target)
                ratios = workloads.ratios(session, self.baseline, self.runs, self.target)
                return ratios | self.sizes(model, artefact or scratch)

        key = self._shape_key(model, plan)
        found = cache.value("shapes", key, measured)
        if self.space.search.predict:
            self.foreseer.learn(key, model, plan, found)
        return found

    def knows_shape(self, model: nn.Module, plan: PrecisionPlan) -> bool:
        """Whether `shape` has nothing to measure."""
        return cache.has_value("shapes", self._shape_key(model, plan))

    def _shape_key(self, model: nn.Module, plan: PrecisionPlan) -> str:
        return keys.shape(storage.signature(model, plan), self.surroundings)

    @cached_property
    def foreseer(self) -> Foreseer:
        """Who tells size and latency without lowering anything."""
        size_mb = latency.size_mb(self.runtime.artefact(self.baseline_folder))
        return Foreseer(self.surroundings, self.runs[0].batch, self.teacher.model, size_mb, self.runtime)

    def foresee(self, recipe: Recipe) -> Foresight | None:
        """What the recipe would measure; None where that cannot be told from its structure."""
        if not self.space.search.predict:
            return None
        shaped = structure(self.start, self.context(seed=0, rehearsal=True), recipe)
        return shaped and self.foreseer.foresee(*shaped, self.study.reference_ms)

    @cached_property
    def baseline_figures(self) -> Measurement:
        """What limits relative to the baseline are compared with before a training."""
        return workloads.of_baseline(self.reference_ms) | self.sizes(self.teacher.model, self.baseline_folder)

    def cost(self, model: nn.Module) -> float:
        """The latency of a module in float32, over the baseline's."""
        return 1 / self.shape(model, PrecisionPlan())["speedup"]

    def sizes(self, model: nn.Module, folder: Path) -> Measurement:
        """Megabytes of the artefact, what the module holds and multiplies, and the memory to run it if a goal asks."""
        sizes = {"size_mb": latency.size_mb(self.runtime.artefact(folder))}
        sizes |= flops.measure_module(model, self.example)
        if self._measures_memory:
            sizes["peak_memory_mb"] = peak_memory.peak_memory_mb(folder, self.runs[0].batch, self.target)
        return sizes

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="autocompress-") as folder, disk.with_room(Path(folder)):
            yield Path(folder)
