"""One label for a text, or for a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autocompress.tasks import guessing
from autocompress.tasks.data.pairs import checked_texts
from autocompress.tasks.kind import Answer, Array, Row, TaskKind, listed
from autocompress.tasks.metrics import METRICS, of_sums, one_answer, statistics

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from autocompress.tasks.dataset import Examples


class TextClassification(TaskKind):
    """Labels are numbers, logits (B, C)."""

    head: ClassVar[str] = "SequenceClassification"
    metrics: ClassVar[tuple[str, ...]] = tuple(METRICS)
    remembers: ClassVar[bool] = True
    model_is: ClassVar[str] = "a classifier of"
    does: ClassVar[str] = "classifying texts"
    columns_of_answers: ClassVar[Mapping[str, type]] = {"label": str, "score": float}

    def row(self, cells: Sequence[Any]) -> Row | None:
        return tuple(cells) if all(isinstance(cell, str) and cell.strip() for cell in cells) else None

    def names(self, cell: Any, name: Callable[[Any], str | None]) -> tuple[str | None, ...]:
        return (name(cell),)

    def label(self, numbers: tuple[int, ...]) -> int:
        return numbers[0]

    def numbers(self, label: int) -> tuple[int, ...]:
        return (label,)

    def examples(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: Sequence[int], max_length: int
    ) -> Examples:
        from autocompress.tasks.dataset import Examples
        from autocompress.tasks.tokenization import encode, padding

        return Examples(encode(tokenizer, rows, max_length), list(labels), padding(tokenizer))

    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        from torch.nn import functional as F

        return F.cross_entropy(logits, batch["labels"], reduction="none")

    def distil(self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], temperature: float) -> Tensor:
        from torch.nn import functional as F

        student_BC, teacher_BC = (F.log_softmax(logits / temperature, -1) for logits in (student, teacher))
        return F.kl_div(student_BC, teacher_BC, reduction="none", log_target=True).sum(-1)

    def guessing(self, train: Examples) -> float:
        return math.log(max(train.labels or [0]) + 1)

    def answers(self, logits: Array, batch: Mapping[str, Any]) -> list[Answer]:
        found: list[int] = np.asarray(logits).argmax(-1).tolist()
        return found

    def statistics(self, answers: Sequence[Answer], labels: Sequence[int]) -> Array:
        return statistics(self.settings.metric, np.asarray(answers), np.asarray(labels))

    def of_sums(self, sums: Array) -> Array:
        return of_sums(self.settings.metric, sums)

    def fault(self, answers: Sequence[Answer], labels: Sequence[int]) -> str:
        return guessing.fault(self.settings.metric, np.asarray(answers), np.asarray(labels), self.labels)

    def one_answer(self, answers: Sequence[Answer], labels: Sequence[int]) -> float:
        return one_answer(self.settings.metric, np.asarray(answers), np.asarray(labels), len(self.labels))

    def given(self, texts: Any) -> list[Any]:
        columns = self.settings.text if len(self.settings.text) > 1 else ("text",)
        return list(checked_texts(listed(texts), columns))

    def fits(self, shape: tuple[int, ...], batch: Mapping[str, Any]) -> bool:
        return shape == (len(batch["input_ids"]), len(self.labels))

    @property
    def gives(self) -> str:
        return f"{len(self.labels)} numbers a text, one a label"

    def answer(self, found: Array, encoding: Any, text: Any) -> Any:
        """The best label and its softmax. In plain Python: NumPy takes ten times as long for a few numbers."""
        logits_C = found.tolist()
        top = max(logits_C)
        return {
            "label": self.labels[logits_C.index(top)],
            "score": 1 / sum(math.exp(logit - top) for logit in logits_C),
        }

    def told(self, answer: Any) -> dict[str, Any]:
        return dict(answer)

    def shown(self, answer: Any) -> dict[str, str]:
        return {"label": answer["label"], "probability": f"{answer['score']:.3f}"}
