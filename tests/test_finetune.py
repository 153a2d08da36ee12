"""Fine-tuning: it learns, it carries out what was left for it, and it leaves nothing behind."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import context, fresh, tiny, toy
from torch import Tensor, nn

from autocompress.errors import ConfigError, Diverged, NotApplicable
from autocompress.methods.context import Course, Loss, Schedule
from autocompress.methods.optimization import lr_factor, parameter_groups
from autocompress.methods.trainer import Trend, total_loss
from autocompress.methods.training.finetune import Finetune
from autocompress.models.forward import Outputs
from autocompress.tasks.dataset import Batch, inputs


class Spy(Loss):
    """Counts its calls, keeps what it was given, owns a parameter."""

    needs = frozenset({"hidden_states"})
    lr = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(2))
        self.given: list[tuple[Outputs, Outputs]] = []

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        self.given.append((student, teacher))
        return self.own.square().sum()


class Told(Schedule):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.progress: list[float | str] = []

    def begin(self, model: nn.Module, steps: int) -> None:
        self.begun.append(steps)

    def step(self, progress: float) -> None:
        self.progress.append(progress)

    def settle(self, model: nn.Module) -> None:
        self.progress.append("settled")


def accuracy(model: nn.Module) -> float:
    batch = toy().batch(list(range(96)))
    with torch.no_grad():
        return (model(**inputs(batch)).logits.argmax(1) == batch["labels"]).float().mean().item()


def test_it_learns():
    model = tiny()
    before = accuracy(model)
    after = accuracy(Finetune(epochs=14, lr=4e-3, batch_size=16).apply(model, context(model)))
    assert before < 0.6
    assert after > 0.9


@pytest.mark.parametrize("frozen", [True, False])
def test_freeze_embeddings(frozen):
    model = tiny()
    changed = Finetune(epochs=1, lr=1e-3, freeze_embeddings=frozen).apply(fresh(model), context(model))
    tables = [name for name, m in model.named_modules() if isinstance(m, nn.Embedding)]
    same = {torch.equal(model.get_submodule(n).weight, changed.get_submodule(n).weight) for n in tables[:2]}
    assert same == {frozen}
    assert not torch.equal(model.bert.embeddings.LayerNorm.weight, changed.bert.embeddings.LayerNorm.weight)
    assert all(p.requires_grad for p in changed.parameters())


def test_losses_get_what_they_need_schedules_get_progress_and_both_are_gone_afterwards():
    seen, told, spy = [], Told(), Spy()
    ctx = context(tiny(), course=Course(lambda step, steps, loss: seen.append((step, steps))))
    ctx.losses.append(spy)
    ctx.schedules.append(told)
    Finetune(epochs=2, batch_size=40).apply(tiny(), ctx)
    assert seen == [(i, 6) for i in range(1, 7)]
    assert told.begun == [6]
    assert told.progress == [*(i / 6 for i in range(1, 7)), "settled"]
    assert len(spy.given) == 6
    assert all(len(out.hidden_states) == 5 for pair in spy.given for out in pair)
    assert all(out.logits.requires_grad == (i == 0) for pair in spy.given for i, out in enumerate(pair))
    assert (spy.own < 0.6).all(), "its own parameter was not trained at its own lr"
    assert (ctx.losses, ctx.schedules) == ([], [])


def test_a_rehearsal_takes_no_step_but_asks_every_loss_and_schedule():
    model, told, spy = tiny(), Told(), Spy()
    ctx = context(model, train=False)
    ctx.losses.append(spy)
    ctx.schedules.append(told)
    changed = Finetune().apply(fresh(model), ctx)
    assert len(spy.given) == 1
    assert spy.given[0][0].logits.shape == (2, 3)
    assert (told.begun, told.progress) == ([1], [1.0, "settled"])
    assert all(torch.equal(v, changed.state_dict()[k]) for k, v in model.state_dict().items())
    assert (ctx.losses, ctx.schedules) == ([], [])


class ToHalf(Loss):
    """Has its minimum where all logits are a half."""

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        return (student.logits - 0.5).square().mean()


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_loss_is_what_the_labels_weigh_plus_what_waits(weight):
    model, ctx = tiny(), context(tiny())
    ctx.losses += [ToHalf(), ToHalf()]
    b = ctx.calibration[0]
    logits = model(**inputs(b)).logits
    expected = weight * nn.functional.cross_entropy(logits, b["labels"]) + 2 * (logits - 0.5).square().mean()
    torch.testing.assert_close(total_loss(model, b, ctx, weight), expected)


def test_with_a_weight_of_zero_no_label_is_read():
    taught = []
    for weight in (0.0, 1.0):
        for labels in (toy().labels, toy().labels[::-1]):
            ctx = context(tiny())
            ctx.train.labels[:] = labels
            ctx.losses.append(ToHalf())
            changed = Finetune(epochs=1, lr=4e-3, label_weight=weight).apply(tiny(), ctx)
            taught.append(torch.cat([p.detach().flatten() for p in changed.parameters()]))
    assert torch.equal(taught[0], taught[1])
    assert not torch.equal(taught[2], taught[3])


def test_where_nothing_is_to_be_learnt_it_says_so():
    sentence = r"^finetune has nothing to learn: label_weight is 0, and no loss waits for it$"
    for train in (True, False):
        with pytest.raises(NotApplicable, match=sentence):
            Finetune(label_weight=0).apply(tiny(), context(tiny(), train=train))
    with pytest.raises(ConfigError, match=r"^finetune\.label_weight: the teacher must learn from labels\. Got 0\."):
        Finetune.for_teacher({"label_weight": 0})


def test_the_teacher_rests_where_nobody_needs_it():
    def never() -> nn.Module:
        raise AssertionError("the teacher was loaded")

    ctx = context(tiny())
    ctx.teacher._load = never
    Finetune(epochs=1).apply(tiny(), ctx)


def test_every_epoch_has_its_own_order_and_every_text():
    from autocompress.methods.trainer import stream

    rows = [row for batch in stream(toy(), 2, 32, seed=5) for row in batch["index"].tolist()]
    assert sorted(rows[:96]) == sorted(rows[96:]) == list(range(96))
    assert rows[:96] != rows[96:]


def test_biases_and_norms_do_not_decay():
    model, knobs = tiny(), Finetune(weight_decay=0.1)
    matrices, others = parameter_groups(knobs, model, context(model))
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    undecayed = {id(p) for p in others["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in undecayed}
    assert names == {name for name, _ in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name}


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("linear", [1 / 3, 2 / 3, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("cosine", [1 / 3, 2 / 3, 1.0, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381]),
        ("constant", [1 / 3, 2 / 3] + [1.0] * 8),
    ],
)
def test_schedule(scheduler, expected):
    knobs = Finetune(warmup=0.2, scheduler=scheduler)
    assert [lr_factor(knobs, step, 10) for step in range(10)] == pytest.approx(expected, abs=1e-4)


def test_divergence_is_said_at_once():
    model = tiny()
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("inf")
    sentence = r"^finetune: the loss is (nan|inf) and its gradient's norm nan at step 1 of 3\. Lower lr\.$"
    with pytest.raises(Diverged, match=sentence):
        Finetune(epochs=1).apply(model, context(model))
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("losses", "rises"),
    [
        ([0.02] * 10 + [0.5] * 30, False),  # a start that is fitted to its texts: worse than that, better than guessing
        ([0.12] * 10 + [0.36] * 99, False),
        ([0.02] * 10 + [1.5] * 30, True),
        ([0.7] * 10 + [1.9] * 30, False),  # worse than guessing, but not by far than where it began
        ([0.7] * 10 + [3.0] * 30, True),
    ],
)
def test_a_loss_that_rises_below_that_of_guessing_goes_on(losses, rises):
    trend = Trend()
    assert any(trend.rises(loss, math.log(2)) for loss in losses) == rises


def test_what_comes_to_be_worse_than_guessing_ends():
    model = tiny()
    with pytest.raises(Diverged, match="the loss rose from"):
        Finetune(epochs=60, lr=0.9, scheduler="constant", warmup=0.9).apply(model, context(model))
