"""Which token comes next: a row is one text and has no label, for its own tokens are what is asked.

The score is the `likelihood`, exp(-mean of -log p(token | those before it)) over all tokens that are asked: the
geometric mean of the probabilities that the model gave to them. It is 1 for a model that knows every token, 1 / V for
one that takes all V tokens to be alike, and the perplexity is 1 / likelihood.

A token is asked of those before it in its text, so the first is asked of none, and what does not fit into the model's
length is not asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autocompress.errors import ConfigError, short
from autocompress.tasks.data.pairs import checked_texts
from autocompress.tasks.kind import NEXT_TOKEN_HEAD, Answer, Array, Row, TaskKind, listed
from autocompress.tasks.token_losses import UNASKED, mean_divergence, mean_entropy
from autocompress.tasks.workload import FIRST_TOKEN, NEXT_TOKEN, Workload

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from autocompress.tasks.dataset import Examples


class CausalLm(TaskKind):
    """Logits (B, T, V); at every token the next one is asked. An answer: [-log likelihood, right tokens, tokens]."""

    head: ClassVar[str] = NEXT_TOKEN_HEAD
    labelled: ClassVar[bool] = False
    stratified: ClassVar[bool] = False
    one_column: ClassVar[str] = "texts"
    continues: ClassVar[bool] = True
    runs: ClassVar[tuple[str, ...]] = (FIRST_TOKEN, NEXT_TOKEN)
    metrics: ClassVar[tuple[str, ...]] = ("likelihood", "accuracy")
    model_is: ClassVar[str] = "a model that continues"
    does: ClassVar[str] = "continuing texts"
    columns_of_answers: ClassVar[Mapping[str, type]] = {"continuation": str}

    def row(self, cells: Sequence[Any]) -> Row | None:
        return tuple(cells) if all(isinstance(cell, str) and cell.strip() for cell in cells) else None

    def names(self, cell: Any, name: Callable[[Any], str | None]) -> tuple[str | None, ...]:
        return ()

    def label(self, numbers: tuple[int, ...]) -> list[int]:
        return list(numbers)

    def numbers(self, label: list[int]) -> tuple[int, ...]:
        return tuple(label)

    def examples(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: Sequence[list[int]], max_length: int
    ) -> Examples:
        """The ids once more as `labels`, each at the token before it."""
        from autocompress.tasks.dataset import Examples
        from autocompress.tasks.tokenization import encode, padding

        encoded, pad = encode(tokenizer, rows, max_length), padding(tokenizer)
        fields = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        asked = [[*ids[1:], UNASKED] if ids else [] for ids in fields["input_ids"]]
        fill = {name: pad[name] for name in fields} | {"labels": UNASKED}
        return Examples(fields | {"labels": asked}, None, fill)

    def unusable(self, rows: Sequence[Row], examples: Examples) -> str:
        alone = [i for i, ids in enumerate(examples.fields["input_ids"]) if len(ids) < 2]
        if not alone:
            return ""
        first = short(rows[alone[0]][0])
        return (
            "task.text: every text must have two tokens or more, for a token is asked of those before it. "
            f"Got {first}, the first of {len(alone)} without. Leave them out."
        )

    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mean_entropy(logits, batch["labels"])

    def distil(self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], temperature: float) -> Tensor:
        return mean_divergence(student, teacher, batch["labels"] != UNASKED, temperature)

    def guessing(self, train: Examples) -> float:
        """That all tokens up to the last that occurs are alike."""
        return math.log(max((max(row, default=0) for row in train.fields["input_ids"]), default=0) + 1)

    def answers(self, logits: Array, batch: Mapping[str, Any]) -> list[Answer]:
        labels_BT = np.asarray(batch["labels"])
        asked_BT = labels_BT != UNASKED
        logits_NV, labels_N = np.asarray(logits)[asked_BT], labels_BT[asked_BT]
        top_N = logits_NV.max(-1, initial=-np.inf)
        of_label_N = np.take_along_axis(logits_NV, labels_N[:, None], -1)[:, 0]
        loss_N = np.log(np.exp(logits_NV - top_N[:, None]).sum(-1, dtype=float)) + (top_N - of_label_N)
        right_N, row_N = logits_NV.argmax(-1) == labels_N, asked_BT.nonzero()[0]
        sums = [np.bincount(row_N, each, len(labels_BT)) for each in (loss_N, right_N)]
        return [
            [loss, int(right), tokens] for loss, right, tokens in zip(*sums, asked_BT.sum(-1).tolist(), strict=True)
        ]

    def statistics(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> Array:
        """What is added up over tokens, and tokens."""
        each_N3 = np.array(answers, float)
        return each_N3[:, [int(self.settings.metric == "accuracy"), 2]]

    def of_sums(self, sums: Array) -> Array:
        summed, tokens = np.moveaxis(np.asarray(sums, float), -1, 0)
        mean = summed / np.maximum(tokens, 1)
        score = mean if self.settings.metric == "accuracy" else np.exp(-mean)
        return np.where(tokens > 0, score, 0.0)

    def fault(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> str:
        """None that answers alone can tell: see `fault_on`."""
        return ""

    def fault_on(self, answers: Sequence[Answer], labels: Sequence[list[int]], examples: Examples) -> str:
        """Whether it is no better than to know how often each token occurs.

        A token that occurs c times among N is given c / (N - 1 + kinds of tokens): its own occurrence is not counted,
        and one is added to all, so that rare tokens of few texts are no easy guess.
        """
        asked = Counter(token for row in examples.fields["labels"] for token in row if token != UNASKED)
        total, metric = asked.total(), self.settings.metric
        if metric == "accuracy":
            guessed = max(asked.values(), default=0) / max(total, 1)
        else:
            alike = math.log(max(total - 1 + len(asked), 1))
            guessed = math.exp(sum(c * (math.log(c) - alike) for c in asked.values()) / max(total, 1))
        if (score := self.score(answers, labels)) > guessed:
            return ""
        told = f"{guessed:.4f} with every token as likely as it is often there"
        return f"its {metric} is {score:.4f} on {len(labels)} validation texts, and {told}"

    def one_answer(self, answers: Sequence[Answer], labels: Sequence[list[int]]) -> float:
        """Without it: what is added up has no end, so no answer is the worst."""
        every_NS = self.statistics(answers, labels)
        sums_S = every_NS.sum(0)
        return float(np.abs(self.of_sums(sums_S - every_NS) - self.of_sums(sums_S)).max())

    def workloads(self, example: Mapping[str, Any]) -> tuple[Workload, ...]:
        """The first token that follows the example, and then the one after it: its own is read, the rest remembered."""
        ids_BT = np.asarray(example["input_ids"])
        read_BT = np.ones_like(ids_BT)
        prompt = {"input_ids": ids_BT, "attention_mask": read_BT, "asked": np.array([ids_BT.shape[1] - 1])}
        one = {
            "input_ids": ids_BT[:, -1:], "attention_mask": np.pad(read_BT, ((0, 0), (0, 1)), constant_values=1),
            "asked": np.array([0]),
        }  # fmt: skip
        return Workload(FIRST_TOKEN, "", prompt), Workload(NEXT_TOKEN, "token_", one, prompt)

    def given(self, texts: Any) -> list[Any]:
        found = list(checked_texts(listed(texts), ("text",)))
        if blank := [text for text in found if not (isinstance(text, str) and text.strip())]:
            raise ConfigError(f"this model continues texts, and none may be empty. Got {short(blank[0])}. Give a text.")
        return found

    def fits(self, shape: tuple[int, ...], batch: Mapping[str, Any]) -> bool:
        ids_BT = np.asarray(batch["input_ids"])
        asked = len(batch["asked"]) if "asked" in batch else ids_BT.shape[1]
        return len(shape) == 3 and shape[:2] == (len(ids_BT), asked) and shape[2] > ids_BT.max(initial=0)

    @property
    def gives(self) -> str:
        return "a number for every token that may come next"

    def answer(self, found: str, encoding: Any, text: Any) -> Any:
        return {"continuation": found}

    def told(self, answer: Any) -> dict[str, Any]:
        return dict(answer)

    def shown(self, answer: Any) -> dict[str, str]:
        return {"continuation": answer["continuation"]}
