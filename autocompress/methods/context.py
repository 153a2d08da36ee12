"""What a method may use besides the model, and what it leaves for the steps after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NoReturn, Protocol

import torch
from torch import Tensor, nn

from autocompress.models.forward import CPU, Outputs, copied, forward, moved
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.settings import Target
from autocompress.tasks import kinds
from autocompress.tasks.dataset import Batch, Corpus, Examples
from autocompress.tasks.kind import TaskKind

OnStep = Callable[[int, int, float], None]  # (step, of how many, loss)


class Interruptible(Protocol):
    """A training under way, such that it can be put aside and gone on with."""

    model: nn.Module
    step: int  # steps taken
    steps: int  # of how many

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the steps to come depend on."""

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Go on after `step` steps, as `state` was then."""


class Course:
    """Follows the trainings of a recipe. This one only tells of their steps."""

    def __init__(self, on_step: OnStep = lambda *_: None) -> None:
        self.on_step = on_step

    def begins(self, training: Interruptible) -> None:
        """Called before the first step; may restore an earlier state."""

    def stepped(self, training: Interruptible, loss: float) -> None:
        """Called after every step; may raise to put the training aside."""
        self.on_step(training.step, training.steps, loss)

    def beside(self, key: str) -> Course:
        """That of another model's training, on which the recipe's waits. `key`: of what comes of it."""
        return Course()


class Loss(nn.Module):
    """A term of the next fine-tuning's loss. It may own parameters, trained along at its own `lr`."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})  # fields of `Outputs`; none: the teacher is not asked
    lr: float = 1e-3

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        raise NotImplementedError


class Schedule(nn.Module):
    """What changes along with the next fine-tuning: gates that close, numbers that come to be rounded.

    Its tensors are put aside with the training, in whose gradients it has no part: what is trained belongs to the model
    or to a `Loss`. A rung scores a copy of it and of the model, made together, that is settled there.
    """

    settled_at: float = 0.0  # the share of the training from which a rung's score is honest: before, none is taken

    def begin(self, model: nn.Module, steps: int) -> None:
        """Called before the first step of `steps`, and before what was put aside is taken up again."""

    def rates(self) -> dict[nn.Parameter, float]:
        """Parameters of the model that `begin` has added, and a learning rate of their own for each."""
        return {}

    def step(self, progress: float) -> None:
        """Called after every optimizer step, with progress in (0, 1]."""

    def settle(self, model: nn.Module) -> None:
        """Make the module final. Called once, after the last step."""


class Teacher:
    """The uncompressed model. It is loaded when first asked for, and not run where its logits are remembered."""

    def __init__(self, load: Callable[[], nn.Module], remember: Callable[[], Tensor] | None = None) -> None:
        """`remember`: gives the logits (N, C) of all training texts; called when something first learns from them."""
        self._load, self._remember = load, remember
        self._copies: dict[torch.device, nn.Module] = {}  # on other devices than the CPU

    @cached_property
    def model(self) -> nn.Module:
        return self._load().eval()

    @cached_property
    def _logits_NC(self) -> Tensor:
        assert self._remember
        return self._remember()

    def __call__(self, batch: Batch, needs: frozenset[str], device: torch.device = CPU) -> Outputs:
        """Its outputs for a training batch, on `device` and without gradients."""
        if self._remember is not None and needs <= {"logits"}:
            return Outputs(moved({"logits": self._logits_NC[batch["index"]]}, device)["logits"])
        with torch.no_grad():
            return forward(self._on(device), batch, needs)

    def _on(self, device: torch.device) -> nn.Module:
        if device != CPU and device not in self._copies:
            self._copies[device] = copied(self.model, device)
        return self._copies.get(device, self.model)


def _nothing(*_: object) -> NoReturn:
    raise LookupError("this context was made without it")


@dataclass
class Context:
    """The trial's surroundings. `train` is None in a rehearsal: `finetune` takes no step, and scores see two texts."""

    teacher: Teacher
    calibration: list[Batch]
    target: Target
    train: Examples | None = None
    seed: int = 0
    course: Course = field(default_factory=Course)
    prefix: str = ""  # a key of the model as it is now; "": what is computed from it is not worth remembering
    kind: TaskKind = field(default_factory=kinds.usual)  # of the task: what is learnt and how it is distilled
    losses: list[Loss] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    score: Callable[[nn.Module], float] | None = None  # on validation texts; given to the teacher's training alone
    precision: PrecisionPlan = field(default_factory=PrecisionPlan)
    unlabelled: Callable[[int], Examples] | None = None  # so many texts at most, where the task has any without labels
    corpus: Callable[[], Corpus] = _nothing  # of all training texts, in a rehearsal too
    cost: Callable[[nn.Module], float] = _nothing  # a module's latency on the target, over the baseline's
    load: Callable[[str], nn.Module] = _nothing  # a checkpoint by its name, with a head for the task
    device: torch.device = CPU  # where models train and read calibration texts; a step gets and returns them on the CPU
    dtype: torch.dtype = torch.float32  # what a training's products are computed in; weights and moments are float32

    def __post_init__(self) -> None:
        if self.train is None:  # only shapes matter, and no shape depends on the values of scores: two texts are enough
            self.calibration = [{name: tensor[:2] for name, tensor in b.items()} for b in self.calibration[:1]]

    def computes_in(self, dtype: str) -> bool:
        """Whether the target's runtime computes a whole model in that format at least as fast as in float32."""
        return find_runtime(self.target.runtime).computes_in(dtype, self.target.device)
