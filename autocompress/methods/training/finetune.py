"""Train on the task, with whatever losses and schedules earlier steps left in the context.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), no decay for biases and norms, gradients clipped to a norm of 1, a
linear warmup over `warmup` of the steps, then the `scheduler` down to 0 (`constant` stays). The loss is `label_weight`
times the cross entropy on the labels, plus every waiting loss; with a weight of 0 they alone are learnt from. Devlin et
al. 2018 (arXiv:1810.04805) searched lr 2e-5 to 5e-5, 3 or 4 epochs and batches of 16 or 32 for BERT; pruned and small
models want a higher lr.

`freeze_embeddings` leaves the embedding tables as they are: updating a vocabulary is a large part of a small model's
step, and few of its rows ever get a gradient. The norm after them is still trained.

In a rehearsal no step is taken: every waiting loss is computed once on a few texts and every schedule ends at once.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.early_stopping import CEILING, EarlyStopping
from autocompress.methods.trainer import Training, rehearse
from autocompress.space.distributions import Later, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Examples


class Finetune(Method):
    """Wins back what the steps before it lost. Where nearly all of a trial's time goes."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    trains: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    epochs: Annotated[int, Field(ge=1)] = 3
    lr: Annotated[float, Field(gt=0, lt=1), Range(1e-5, 3e-4, log=True)] = 5e-5
    batch_size: Annotated[int, Field(ge=1)] = 32
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    freeze_embeddings: bool = True
    label_weight: Annotated[float, Field(ge=0), Later()] = 1.0

    def training_steps(self, texts: int) -> int:
        return self.epochs * math.ceil(texts / self.batch_size)

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if not (self.label_weight or ctx.losses):
            raise NotApplicable("finetune has nothing to learn: label_weight is 0, and no loss waits for it")
        frozen = freeze_embeddings(model) if self.freeze_embeddings else []
        try:
            if ctx.train is None:
                rehearse(self, model, ctx)
            else:
                self.training(model, ctx, ctx.train).run()
        finally:
            for table in frozen:
                table.requires_grad_(True)
        ctx.losses.clear()
        ctx.schedules.clear()
        return model.eval()

    def training(self, model: nn.Module, ctx: Context, train: Examples) -> Training:
        """One run, not begun yet."""
        return Training(self, model, ctx, train, self.epochs)

    @classmethod
    def for_teacher(cls, knobs: dict[str, Any]) -> Method:
        """Until the validation score stops rising, unless a number of epochs is given.

        Raises `ConfigError` where it would not learn from labels: nobody teaches the teacher.
        """
        if knobs.get("label_weight") == 0:
            raise ConfigError(
                "finetune.label_weight: the teacher must learn from labels. Got 0. Write a number above 0."
            )
        if knobs.get("epochs", "auto") != "auto":
            return cls(**knobs)
        return AutoFinetune(**{knob: value for knob, value in knobs.items() if knob != "epochs"})

    @classmethod
    def check(cls, knob: str, value: Any) -> Any:
        if (knob, value) == ("epochs", "auto"):
            raise ConfigError(
                "finetune.epochs: only the teacher may have 'auto', for trials are compared after equal training. "
                "Got 'auto'. Write a number."
            )
        return super().check(knob, value)


class AutoFinetune(Finetune):
    """`finetune: {epochs: auto}`, which only the teacher may have. Its context knows how to score a model."""

    listed: ClassVar[bool] = False

    epochs: Literal["auto"] = "auto"  # type: ignore[assignment]

    def training_steps(self, texts: int) -> int:
        return (CEILING + 1) * math.ceil(texts / self.batch_size)

    def training(self, model: nn.Module, ctx: Context, train: Examples) -> Training:
        if ctx.score is None:
            raise ConfigError("finetune.epochs: only the teacher may have 'auto'. Write a number.")
        return EarlyStopping(self, model, ctx, train, ctx.score)


def freeze_embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Train no embedding table. Returns the tables that were trainable."""
    heads = {m.weight for m in model.modules() if isinstance(m, nn.Linear)}  # a table may be one too
    tables = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)} - heads
    frozen = [p for p in model.parameters() if p in tables and p.requires_grad]
    for table in frozen:
        table.requires_grad_(False)
    return frozen
