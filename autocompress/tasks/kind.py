"""A task kind: how rows become batches, what is learnt from them, how answers are scored, and how they are said.

One file each in `tasks/kinds/`, whose name is what `task.kind` says. Importing one loads neither torch nor
transformers: who serves a model needs its `answer`, and no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from autocompress.space.settings import TaskSettings
from autocompress.tasks.workload import FORWARD, Workload

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from autocompress.tasks.dataset import Examples

Array = NDArray[Any]
Row = tuple[str, ...]  # of a row its one text, or its two, or its words
Label = Any  # what is asked of a row, in numbers: one, or a list of them
Answer = Any  # what a model says of a row, in numbers; JSON holds it

NEXT_TOKEN_HEAD = "CausalLM"


class TaskKind(ABC):
    """What is common to all tasks of a kind. `labels`: their names by number, once they are known."""

    head: ClassVar[str]  # of transformers: AutoModelFor<head>
    labelled: ClassVar[bool] = True  # whether the data has a column of labels
    stratified: ClassVar[bool] = True  # whether a row has one label, whose shares every split keeps
    metrics: ClassVar[tuple[str, ...]]  # what may score it, the usual one first
    remembers: ClassVar[bool] = False  # whether what a teacher says of the training rows is kept: it has to be small
    words: ClassVar[bool] = False  # whether a row is words and not texts
    one_column: ClassVar[str] = ""  # what a sentence calls what a row holds, where that is one column only
    continues: ClassVar[bool] = False  # whether an answer is a text that goes on, written token by token
    runs: ClassVar[tuple[str, ...]] = (FORWARD,)  # the names of its `workloads`
    text_rule: ClassVar[str] = "a text that is not empty"
    model_is: ClassVar[str]  # what a sentence calls the model
    does: ClassVar[str]  # what it is for: a checkpoint has a head for it, or none
    columns_of_answers: ClassVar[Mapping[str, type]]  # of a table of answers

    def __init__(self, settings: TaskSettings, labels: tuple[str, ...] = ()) -> None:
        self.settings, self.labels = settings, labels

    # rows

    @abstractmethod
    def row(self, cells: Sequence[Any]) -> Row | None:
        """The texts, or the words, in these cells of a table; None if they cannot be used."""

    @abstractmethod
    def names(self, cell: Any, name: Callable[[Any], str | None]) -> tuple[str | None, ...]:
        """The labels in a cell; `name` reads a single one."""

    @abstractmethod
    def label(self, numbers: tuple[int, ...]) -> Label:
        """The labels of a row, by their numbers, as this kind has them."""

    @abstractmethod
    def numbers(self, label: Label) -> tuple[int, ...]:
        """The inverse of `label`."""

    @abstractmethod
    def examples(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: Sequence[Label], max_length: int
    ) -> Examples:
        """N rows as a model reads them, with what is asked of each."""

    def unusable(self, rows: Sequence[Row], examples: Examples) -> str:
        """The sentence for rows of which nothing can be asked as a model reads them, or nothing."""
        return ""

    # learning, with torch

    @abstractmethod
    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B,), one value a row."""

    @abstractmethod
    def distil(self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], temperature: float) -> Tensor:
        """KL(teacher ‖ student) of the logits at this temperature: (B,)."""

    @abstractmethod
    def guessing(self, train: Examples) -> float:
        """The loss of a model that knows nothing."""

    # answers and scores, with arrays

    @abstractmethod
    def answers(self, logits: Array, batch: Mapping[str, Any]) -> list[Answer]:
        """What logits say of each row of a batch."""

    @abstractmethod
    def statistics(self, answers: Sequence[Answer], labels: Sequence[Label]) -> Array:
        """(N, S): what each row adds to the sums that the metric is a function of."""

    @abstractmethod
    def of_sums(self, sums: Array) -> Array:
        """The metric of sums (..., S): higher is better, 1 is perfect."""

    @abstractmethod
    def fault(self, answers: Sequence[Answer], labels: Sequence[Label]) -> str:
        """How these answers are no better than guessing, or nothing."""

    @abstractmethod
    def one_answer(self, answers: Sequence[Answer], labels: Sequence[Label]) -> float:
        """The most by which the metric changes if the answer to one row is another."""

    def fault_on(self, answers: Sequence[Answer], labels: Sequence[Label], examples: Examples) -> str:
        """`fault`, for a kind where the rows as a model reads them tell what guessing is worth."""
        return self.fault(answers, labels)

    def score(self, answers: Sequence[Answer], labels: Sequence[Label]) -> float:
        """The metric of all answers."""
        return float(self.of_sums(self.statistics(answers, labels).sum(0)))

    # what is timed

    def workloads(self, example: Mapping[str, Any]) -> tuple[Workload, ...]:
        """The runs that are timed on a batch of the target's shape, that of `latency_ms` first."""
        return (Workload(FORWARD, "", example),)

    # serving, without torch

    @abstractmethod
    def given(self, texts: Any) -> list[Any]:
        """What a pipeline is given, as one list of what its tokenizer takes. Raises `ConfigError`."""

    @abstractmethod
    def fits(self, shape: tuple[int, ...], batch: Mapping[str, Any]) -> bool:
        """Whether logits of this shape answer the batch."""

    @property
    @abstractmethod
    def gives(self) -> str:
        """What such logits are, in a sentence."""

    @abstractmethod
    def answer(self, found: Any, encoding: Any, text: Any) -> Any:
        """What a person is told of one text: plain data. `encoding`: its tokens, as `tokenizers` has them.

        `found`: its logits; of a kind that continues texts, what was written.
        """

    @abstractmethod
    def told(self, answer: Any) -> dict[str, Any]:
        """The answer as cells of a table for programs, by `columns_of_answers`."""

    @abstractmethod
    def shown(self, answer: Any) -> dict[str, str]:
        """The same for people."""


def has_head(architecture: str, head: str) -> bool:
    """Whether a class of transformers has this head; some that say which token comes next are called otherwise."""
    return architecture.endswith(f"For{head}") or (head == NEXT_TOKEN_HEAD and architecture.endswith("LMHeadModel"))


def listed(texts: Any) -> list[Any]:
    """One text or several, as a list."""
    return [texts] if isinstance(texts, str | tuple) else list(texts)
