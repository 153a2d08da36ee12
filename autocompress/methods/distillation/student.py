"""Put another, smaller model in the place of the one to compress; a finetune with distillation follows.

`model` says which:

- `6x384`: layers x width, of the teacher's own family, with heads of the teacher's size and feed-forwards as many times
  as wide. With `init: teacher` its layers are the teacher's, evenly spaced, and of every matrix evenly spaced rows and
  columns (Xu et al. 2023, "Initializing Models with Larger Ones", arXiv:2311.18823); with `random` it is drawn.
- `bilstm`, `gru`, `cnn`, `embedding_bag`: a model of our own, `width` wide. With `init: teacher` its embeddings are the
  teacher's, brought to its width by their principal directions.
- anything else: a checkpoint, distilled before perhaps, which has the teacher's tokenizer.

Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", arXiv:1903.12136; shapes:
Turc et al. 2019, "Well-Read Students Learn Better", arXiv:1908.08962, which trains them on a corpus first, and here a
checkpoint may have been.
"""

from __future__ import annotations

import copy
import re
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.families.anatomy import anatomy
from autocompress.models.students import by_shape
from autocompress.models.students.starts import drawn_like, embeddings_from, weights_from
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage

_SHAPE = re.compile(r"([1-9]\d?)x([1-9]\d{0,4})")


class Student(Method):
    """The largest cuts of all. Wants a long finetune, soft_labels, and much text."""

    stage: ClassVar[Stage] = "student"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")
    revision: ClassVar[int] = 2  # layers of our own are drawn otherwise

    model: Annotated[str, Field(min_length=1), Choice(("bilstm", "gru", "cnn"))] = "bilstm"
    width: Annotated[int, Field(ge=8, le=4096, multiple_of=2)] = 256
    layers: Annotated[int, Field(ge=1, le=24)] = 1
    init: Annotated[Literal["teacher", "random"], Choice(("teacher", "random"))] = "teacher"

    def checkpoints(self) -> tuple[str, ...]:
        return () if self.model in by_shape() or _SHAPE.fullmatch(self.model) else (self.model,)

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if self.checkpoints():
            return ctx.load(self.model).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ctx.seed)
            made = self._of_our_own(model) if self.model in by_shape() else self._of_its_family(model)
        return made.eval()

    def _of_our_own(self, model: Any) -> nn.Module:
        if not model.__class__.__name__.endswith("ForSequenceClassification"):
            raise NotApplicable(f"a {self.model} student classifies texts: this task asks for something else")
        made = by_shape()[self.model]
        config = made.config_class(
            vocab_size=model.get_input_embeddings().num_embeddings, hidden_size=self.width,
            num_hidden_layers=self.layers, pad_token_id=model.config.pad_token_id or 0,
            id2label=model.config.id2label, label2id=model.config.label2id,
            problem_type=model.config.problem_type,
        )  # fmt: skip
        student = made(config)
        if self.init == "teacher":
            embeddings_from(student, model)
        return student

    def _of_its_family(self, model: Any) -> nn.Module:
        found = _SHAPE.fullmatch(self.model)
        assert found
        layers, width = int(found[1]), int(found[2])
        stacks = anatomy(model).stacks
        if not stacks or not anatomy(model).blocks[0].attentions:
            raise NotApplicable(f"a {anatomy(model).kind!r} model has no shape of layers x width")
        student = drawn_like(copy.deepcopy(model.config), type(model), layers, width)
        if self.init == "teacher":
            weights_from(student, model)
        return student
