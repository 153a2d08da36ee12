"""A label for every word: names, parts of speech. A row is words and as many tags.

A word of several tokens is told by its first one; the others, and special tokens, are asked nothing (-100). Words that
do not fit into the model's length are answered "none", and count as such.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autocompress.errors import ConfigError, short
from autocompress.tasks.entities import Entity, counts, entities
from autocompress.tasks.kind import Answer, Array, Row, TaskKind
from autocompress.tasks.token_losses import UNASKED, mean_divergence, mean_entropy

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from autocompress.tasks.dataset import Examples


class TokenClassification(TaskKind):
    """Labels are lists of numbers, one a word; logits (B, T, C)."""

    head: ClassVar[str] = "TokenClassification"
    metrics: ClassVar[tuple[str, ...]] = ("entity_f1", "accuracy")
    stratified: ClassVar[bool] = False
    words: ClassVar[bool] = True
    one_column: ClassVar[str] = "words"
    text_rule: ClassVar[str] = "words, as a list or with blanks between them, and as many labels"
    model_is: ClassVar[str] = "a tagger of words in"
    does: ClassVar[str] = "tagging words"
    columns_of_answers: ClassVar[Mapping[str, type]] = {"entities": str}

    def row(self, cells: Sequence[Any]) -> Row | None:
        words = _parted(cells[0])
        good = len(cells) == 1 and words and all(isinstance(word, str) and word.strip() for word in words)
        return tuple(words) if good else None

    def names(self, cell: Any, name: Callable[[Any], str | None]) -> tuple[str | None, ...]:
        return tuple(map(name, _parted(cell))) or (None,)

    def label(self, numbers: tuple[int, ...]) -> list[int]:
        return list(numbers)

    def numbers(self, label: list[int]) -> tuple[int, ...]:
        return tuple(label)

    def examples(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: Sequence[list[int]], max_length: int
    ) -> Examples:
        from autocompress.tasks.dataset import Examples
        from autocompress.tasks.tokenization import padding

        if not rows:
            return Examples({name: [] for name in [*padding(tokenizer), "labels"]}, None, padding(tokenizer))
        encoded = tokenizer([*map(list, rows)], truncation=True, max_length=max_length, is_split_into_words=True)
        asked = [_asked(encoded.word_ids(i), label) for i, label in enumerate(labels)]
        fields = {name: encoded[name] for name in padding(tokenizer)}
        return Examples(fields | {"labels": asked}, None, padding(tokenizer) | {"labels": UNASKED})

    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mean_entropy(logits, batch["labels"])

    def distil(self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], temperature: float) -> Tensor:
        return mean_divergence(student, teacher, batch["attention_mask"], temperature)

    def guessing(self, train: Examples) -> float:
        return math.log(max((max(row, default=0) for row in train.fields["labels"]), default=0) + 1)

    def answers(self, logits: Array, batch: Mapping[str, Any]) -> list[Answer]:
        best_BT, asked_BT = np.asarray(logits).argmax(-1), np.asarray(batch["labels"]) != UNASKED
        return [best_T[asked_T].tolist() for best_T, asked_T in zip(best_BT, asked_BT, strict=True)]

    def statistics(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> Array:
        """Entities that are right, found and there; or right words and words."""
        if self.settings.metric == "entity_f1":
            named = [(self._tags(answer, len(label)), self._tags(label, 0))
                     for answer, label in zip(answers, labels, strict=True)]  # fmt: skip
            return np.array([counts(*pair) for pair in named])
        pairs = zip(answers, labels, strict=True)
        return np.array([[sum(a == b for a, b in zip(answer, label, strict=False)), len(label)]
                         for answer, label in pairs])  # fmt: skip

    def of_sums(self, sums: Array) -> Array:
        right, *others = np.moveaxis(np.asarray(sums, float), -1, 0)
        if self.settings.metric == "accuracy":
            return np.asarray(right / others[0])
        both = others[0] + others[1]
        return np.asarray(np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0))

    def fault(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> str:
        numbers, score = [n for label in labels for n in label], self.score(answers, labels)
        common = max(set(numbers), key=numbers.count)
        constant = self.score([[common] * len(label) for label in labels], labels)
        if score > constant:
            return ""
        told = f"{constant:.3f} with {self.labels[common]!r} for every word"
        return f"its {self.settings.metric} is {score:.3f} on {len(labels)} validation texts, and {told}"

    def one_answer(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> float:
        """With a row's answers all wrong, and one thing more found than there is."""
        every_NS = self.statistics(answers, labels)
        sums_S = every_NS.sum(0)
        worse_NS = sums_S - every_NS * np.eye(every_NS.shape[1], dtype=int)[0]
        worse_NS[:, 1] += self.settings.metric == "entity_f1"
        return float(np.abs(self.of_sums(worse_NS) - self.of_sums(sums_S)).max())

    def given(self, texts: Any) -> list[Any]:
        """A text is parted at its blanks; a list of words is one text in a list of such lists."""
        several = [texts] if isinstance(texts, str) else list(texts)
        found = [() if isinstance(text, tuple) else tuple(_parted(text)) for text in several]
        for text, words in zip(several, found, strict=True):
            if not words or not all(isinstance(word, str) and word.strip() for word in words):
                raise ConfigError(
                    f"this model reads words: a text, or a list of words. Got {short(text)}. Give a text."
                )
        return found

    def fits(self, shape: tuple[int, ...], batch: Mapping[str, Any]) -> bool:
        return shape == (*np.shape(batch["input_ids"]), len(self.labels))

    @property
    def gives(self) -> str:
        return f"{len(self.labels)} numbers a word, one a label"

    def answer(self, found: Array, encoding: Any, text: Any) -> Any:
        """The entities: type, text, the numbers of its first word and of the one behind it, mean probability."""
        starts = _starts(encoding.word_ids)
        logits_WC = found[[i for i, _ in starts]]
        shifted_WC = np.exp(logits_WC - logits_WC.max(-1, keepdims=True))
        best_W = logits_WC.argmax(-1)
        sure_W = (shifted_WC.max(-1) / shifted_WC.sum(-1)).tolist()
        named = entities([self.labels[number] for number in best_W])
        return [self._said(entity, text, sure_W) for entity in named]

    def told(self, answer: Any) -> dict[str, Any]:
        return {"entities": json.dumps(answer, ensure_ascii=False)}

    def shown(self, answer: Any) -> dict[str, str]:
        return {
            "entities": ", ".join(f"{one['text']} ({one['entity']} {one['score']:.2f})" for one in answer) or "none"
        }

    def _tags(self, numbers: Sequence[int], words: int) -> list[str]:
        """Their names; what is left of so many `words` is outside."""
        named = [self.labels[number] if self.labels else str(number) for number in numbers]
        return named + ["O"] * (words - len(named))

    def _said(self, entity: Entity, words: Sequence[str], sure_W: list[float]) -> dict[str, Any]:
        sure = sure_W[entity.begin : entity.end]
        return {
            "entity": entity.type, "text": " ".join(words[entity.begin : entity.end]),
            "begin": entity.begin, "end": entity.end, "score": sum(sure) / len(sure),
        }  # fmt: skip


def _parted(cell: Any) -> list[Any]:
    """A list of words or labels, or a text with blanks between them."""
    if isinstance(cell, str):
        return cell.split()
    return list(cell) if isinstance(cell, list | tuple) else []


def _starts(word_ids: Sequence[int | None]) -> list[tuple[int, int]]:
    """Token and word, of the first token of every word."""
    return [(i, word) for i, word in enumerate(word_ids)
            if word is not None and (i == 0 or word_ids[i - 1] != word)]  # fmt: skip


def _asked(word_ids: Sequence[int | None], label: Sequence[int]) -> list[int]:
    """The label of every token that begins a word."""
    asked = [UNASKED] * len(word_ids)
    for i, word in _starts(word_ids):
        asked[i] = label[word]
    return asked
