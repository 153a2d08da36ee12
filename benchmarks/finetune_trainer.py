"""The other side of `finetune.py`: the Trainer of Hugging Face, as its documentation has it."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from autocompress.tasks.task import Task

TEMPERATURE = 2.0


@dataclass
class _Clock:
    now: Callable[[], float] = time.perf_counter


clock = _Clock()  # by which both sides are timed


@dataclass
class Losses:
    """What a training gave."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0  # of its steps


class Clock(TrainerCallback):
    """From the first step's beginning to the last one's end."""

    def __init__(self, into: Losses) -> None:
        self._into, self._began = into, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._began = self._began or clock.now()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._into.seconds = clock.now() - self._began


class Distilling(Trainer):
    """The task's loss, and that of the teacher's softened answers, if there is a teacher."""

    def __init__(self, *given: Any, teacher: nn.Module | None, into: Losses, **more: Any) -> None:
        super().__init__(*given, **more)
        self._teacher, self._into = teacher and teacher.eval(), into

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **more: Any
    ) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss
        if self._teacher:
            with torch.no_grad():
                asked = self._teacher(**{name: value for name, value in inputs.items() if name != "labels"}).logits
            student, teacher = (F.log_softmax(logits / TEMPERATURE, -1) for logits in (outputs.logits, asked))
            loss = loss + TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        self._into.losses.append(loss.item())
        return (loss, outputs) if return_outputs else loss


def by_trainer(
    model: nn.Module, teacher: nn.Module | None, task: Task, *, seed: int, epochs: int, lr: float, batch_size: int,
    like_lengths: bool = False, bf16: bool = False,
) -> Losses:  # fmt: skip
    """Train `model`. Batches are padded to their longest text; `like_lengths`: drawn among texts of like length."""
    into, examples = Losses(), task.train
    rows = [
        {name: values[row] for name, values in examples.fields.items()} | {"labels": (examples.labels or [])[row]}
        for row in range(len(examples))
    ]
    grouped = {"train_sampling_strategy": "group_by_length"} if like_lengths else {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = TrainingArguments(
            folder, per_device_train_batch_size=batch_size, num_train_epochs=epochs, learning_rate=lr, seed=seed,
            weight_decay=0.01, warmup_steps=0.1, lr_scheduler_type="linear", optim="adamw_torch_fused",
            max_grad_norm=1.0, use_cpu=not torch.cuda.is_available(), bf16=bf16, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, **grouped,
        )  # fmt: skip
        trainer = Distilling(
            model, args, train_dataset=rows, data_collator=DataCollatorWithPadding(task.tokenizer),
            callbacks=[Clock(into)], teacher=teacher, into=into,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return into
