"""What moves to another device and back. There is no GPU here: a second name of the CPU, and tensors without numbers.

Of such a "fake" tensor torch knows shape and device, so that it refuses what a GPU would refuse: mixing the two.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import context, fresh, tiny, toy
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

import autocompress
from autocompress.methods.context import Context, Loss, Teacher
from autocompress.methods.distillation.soft_labels import SoftLabelLoss
from autocompress.methods.importance import taylor
from autocompress.methods.trainer import Training, total_loss
from autocompress.methods.training.finetune import Finetune
from autocompress.models.calibration import observe
from autocompress.models.forward import CPU, Outputs, device_of, forward, placed
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks import kinds
from autocompress.tasks.dataset import Batch, inputs

OTHER = torch.device("cpu", 0)  # the CPU by another name: everything is carried there, and stays where it is
METHODS = {
    "layers": {"strategy": "contribution"}, "heads": {}, "qat": {"embeddings": False}, "hidden_states": {},
    "finetune": {"epochs": 1},
}  # fmt: skip


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.device]]:
    """Which modules were carried where."""
    found: list[tuple[str, torch.device]] = []
    whole = nn.Module.to

    def to(self: nn.Module, device: torch.device, *args: Any, **more: Any) -> nn.Module:
        found.append((type(self).__name__, device))
        return whole(self, device, *args, **more)

    monkeypatch.setattr(nn.Module, "to", to)
    return found


def applied(device: torch.device) -> tuple[nn.Module, Context]:
    ctx, model = context(tiny(), device=device), fresh(tiny())
    for name, knobs in METHODS.items():
        model = find(name)(**knobs).apply(model, ctx)
    observe(model, ["classifier"], ctx.calibration, ctx.device)
    return model, ctx


def test_all_that_runs_a_model_carries_it_there_and_back(carried: list[tuple[str, torch.device]]) -> None:
    here = applied(CPU)
    assert carried == []
    there = applied(OTHER)
    runs = [*["BertForSequenceClassification"] * 3, "ModuleDict", "BertForSequenceClassification"]
    assert carried == [(name, device) for name in runs for device in (OTHER, CPU)], "cuts, qat, a training, texts"
    for name, tensor in here[0].state_dict().items():
        assert torch.equal(tensor, there[0].state_dict()[name])
    assert here[1].precision.scales.keys() == there[1].precision.scales.keys()
    assert all(torch.equal(scale, there[1].precision.scales[name]) for name, scale in here[1].precision.scales.items())


def test_the_teacher_runs_as_a_copy_that_is_carried_there_once(carried: list[tuple[str, torch.device]]) -> None:
    ctx = context(tiny())
    for _ in range(2):
        ctx.teacher(ctx.calibration[0], frozenset({"logits", "hidden_states"}), OTHER)
    assert carried == [("BertForSequenceClassification", OTHER)]
    assert ctx.teacher._on(OTHER) is not ctx.teacher.model
    assert ctx.teacher._on(CPU) is ctx.teacher.model


def test_a_model_comes_back_with_its_own_parameters_whatever_happens(carried: list[tuple[str, torch.device]]) -> None:
    model = tiny()
    before = [id(p) for p in model.parameters()]
    with pytest.raises(ZeroDivisionError), placed(model, OTHER):
        raise ZeroDivisionError
    assert [where for _, where in carried] == [OTHER, CPU]
    assert [id(p) for p in model.parameters()] == before


@pytest.fixture(scope="module")
def gpu() -> torch.device:
    """A kind of device that torch knows by name alone: enough for fake tensors."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot be told of another kind of device")
    nothing = SimpleNamespace(
        is_available=lambda: False, is_initialized=lambda: False, device_count=lambda: 0, current_device=lambda: 0,
        _is_in_bad_fork=lambda: False, manual_seed_all=lambda seed: None, _lazy_init=lambda: None,
    )  # fmt: skip
    backend_registration._setup_privateuseone_for_python_backend("fakegpu", nothing)
    return torch.device("fakegpu", 0)


def on(device: torch.device) -> nn.Module:
    with device:
        return tiny()


class LastStates(Loss):
    """The squared error of the last layer's states."""

    needs = frozenset({"hidden_states"})

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        error_BT = (student.hidden_states[-1] - teacher.hidden_states[-1]).square().mean(-1)
        return (error_BT * batch["attention_mask"]).mean()


TEXTS = toy()  # made with numbers


def surroundings(teacher: nn.Module, device: torch.device) -> Context:
    """With a teacher that is on `device` already, for no fake tensor can be carried."""
    ctx = Context(Teacher(lambda: teacher), list(TEXTS.head(32).batches(16)), Target(), TEXTS)
    ctx.teacher._copies[device] = teacher
    assert {tensor.device for batch in ctx.calibration for tensor in batch.values()} == {CPU}
    return ctx


@pytest.mark.parametrize("remembered", [True, False])
def test_a_loss_is_computed_where_the_model_is(gpu: torch.device, remembered: bool) -> None:
    with FakeTensorMode():
        model, teacher = on(gpu), on(gpu)
        ctx = surroundings(teacher, gpu)
        if remembered:
            ctx.teacher._remember = lambda: torch.zeros(96, 3)
        ctx.losses += [SoftLabelLoss(2.0, 1.0, kinds.usual()), *([] if remembered else [LastStates()])]
        batch = ctx.calibration[0]
        with pytest.raises(RuntimeError, match=r"two devices|different devices"):
            model(**inputs(batch))
        assert total_loss(model, batch, ctx, 1.0).device == gpu


def test_importance_is_kept_on_the_cpu(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    # autograd counts the devices once a process, and this one has none
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, runs: [torch.zeros_like(run) for run in runs])
    with FakeTensorMode():
        model = on(gpu)
        ctx = surroundings(model, gpu)
        sites = [layer.output.dense for layer in model.bert.encoder.layer]
        found = taylor(model, sites, ctx.calibration, [1] * 4, kinds.usual(), gpu)
        assert {scores.device for scores in found} == {CPU}
        needs = frozenset({"logits", "attentions", "q"})
        assert forward(model, ctx.calibration[0], needs).q[0].device == device_of(model) == gpu


def test_what_is_put_aside_is_on_the_cpu_and_taken_up_where_the_model_is(gpu: torch.device) -> None:
    with FakeTensorMode():
        model = on(gpu)
        ctx = surroundings(model, gpu)
        training = Training(Finetune(), model, ctx, TEXTS, 1)
        moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)}
        with gpu:
            for p in training._parameters():
                training.optimizer.state[p] = {name: tensor.to(gpu) for name, tensor in moments.items()}
        state = training.state()
        assert len(state) > 3 * len(training.optimizer.state)
        assert {tensor.device for tensor in state.values()} == {CPU}
        training.optimizer.state.clear()
        training.take(state)
        kept = [tensor for of_one in training.optimizer.state.values() for tensor in of_one.values()]
        assert {tensor.device for tensor in kept} == {gpu}


def test_nothing_moves_but_by_forward_and_the_trainer() -> None:
    package = Path(autocompress.__file__).parent
    moving = re.compile(r"\.(cuda|cpu)\(\)|\.to\(\S*(device|CPU|cuda|cpu)")
    found = {
        str(file.relative_to(package))
        for folder in ("methods", "models", "trials", "tasks")
        for file in (package / folder).rglob("*.py")
        if moving.search(file.read_text("utf-8"))
    }
    assert found == {"models/forward.py", "methods/trainer.py"}
