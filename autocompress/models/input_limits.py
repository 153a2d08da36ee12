"""How long a text a model can read, and which token ids and token types it has rows for.

What a checkpoint says of that is often wrong: `model_max_length` is 1e30 in many tokenizers. So the model is asked: it
reads one short text while every look-up in an embedding table is watched. A table whose rows are looked up one after
the other holds positions, and the first of them is where they begin (RoBERTa: after its padding index). Rotary and
relative positions have no such table, and no end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from autocompress.errors import ConfigError
from autocompress.space.goals import NEXT_TOKEN
from autocompress.space.settings import find_task_kind
from autocompress.tasks.tokenization import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from autocompress.space.settings import Target, TaskSettings

_TOKENS = 8  # of the text that the model is asked to read


@dataclass(frozen=True)
class Limits:
    """What a model's tables hold. None: it has no table for that, and reads any number, or none at all."""

    tokens: int | None  # positions
    ids: int | None  # rows of the token table
    types: int | None  # rows of the table of token types
    reads_types: bool  # whether it takes token types

    def dump(self) -> dict[str, Any]:
        return asdict(self)


class _Lookups(TorchFunctionMode):
    """Remembers every look-up in this thread: the indices, and how many rows the table has."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, int]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.embedding:
            self.seen.append((args[0].detach(), len(args[1])))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def limits_of(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Limits:
    """Let `model` read one text, and see which rows of which tables it looks up."""
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    ids_T = _text(model, tokenizer)
    fed = {"input_ids": ids_T[None], "attention_mask": torch.ones_like(ids_T)[None]}
    with _Lookups() as lookups:
        model.eval()(**fed, **({"token_type_ids": torch.zeros_like(ids_T)[None]} if takes_types else {}))
    tokens, ids, types = [], [], []
    for indices, rows in lookups.seen:
        if len(indices) != 1 and indices.shape != (_TOKENS, 1):  # a matrix of distances, as T5's
            continue
        first_T = indices.flatten()[:_TOKENS]
        if torch.equal(first_T, ids_T):
            ids.append(rows)
        elif torch.equal(first_T, first_T[0] + torch.arange(len(first_T))):
            tokens.append(rows - int(first_T[0]))
        elif takes_types and not first_T.any():
            types.append(rows)
    return Limits(min(tokens, default=None), min(ids, default=None), min(types, default=None), takes_types)


def fit(tokenizer: PreTrainedTokenizerBase, models: Iterable[Limits]) -> None:
    """Make `tokenizer` state what all of the `models` read: it is saved so with what is exported.

    Token types are given to no model that has one of them or none.
    """
    for limits in models:
        if limits.tokens is not None:
            tokenizer.model_max_length = min(tokenizer.model_max_length, limits.tokens)
        if not limits.reads_types or limits.types == 1:
            names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
            tokenizer.model_input_names = names


def check(
    tokenizer: PreTrainedTokenizerBase, models: Mapping[str, Limits], target: Target, task: TaskSettings | None = None
) -> None:
    """Raise `ConfigError` with every mistake, a line each: ids and types without a row, lengths that are too long.

    `models`: what each of those is called that read what `tokenizer` gives, as `fit` made it.
    """
    columns = len(task.text) if task else 1
    wrong = [said for name, limits in models.items() for said in _unreadable(tokenizer, name, limits, columns)]
    asked = {"task.max_length": task.max_length} if task else {}
    for key, length in (asked | {"target.sequence_length": target.sequence_length}).items():
        more = bool(task and key.startswith("target") and NEXT_TOKEN in find_task_kind(task.kind).runs)
        if length + more > tokenizer.model_max_length:
            rule = f"must be at most {tokenizer.model_max_length - more}, which is what this model reads"
            rule += " before one token more" * more
            usual = type(task).model_fields["max_length"].default if task and key == "task.max_length" else None
            wrong.append(f"{key}: {rule}. Got {length}{', the default' * (length == usual)}.")
    if wrong:
        raise ConfigError("\n".join(wrong))


def _unreadable(tokenizer: PreTrainedTokenizerBase, name: str, limits: Limits, columns: int) -> list[str]:
    """Ids and token types that the tokenizer gives and the model has no row for, a sentence each."""
    wrong = []
    beyond = {i: token for token, i in tokenizer.get_vocab().items() if limits.ids is not None and i >= limits.ids}
    if beyond:
        first = min(beyond)
        wrong.append(
            f"{name}: its tokenizer must give no token that the model has no row for, and it has {limits.ids} rows. "
            f"Got {len(beyond)} such tokens, the first {beyond[first]!r} with the number {first}. "
            "Call model.resize_token_embeddings(len(tokenizer)), train it on, and save both again."
        )
    types = encode(tokenizer, [("text",) * columns], _TOKENS).get("token_type_ids", [[]])[0]
    if limits.types is not None and max(types, default=0) >= limits.types:
        wrong.append(
            f"{name}: its tokenizer must give token types that the model has, which are 0 to {limits.types - 1}. "
            f"Got {max(types)}. Save the tokenizer that the model was trained with beside it."
        )
    return wrong


def _text(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """(T,): one token of the vocabulary over and over, and at the end the one that ends a text, which some ask for."""
    config: Any = model.config
    special = {*tokenizer.all_special_ids, config.pad_token_id}
    usual = min((i for i in tokenizer.get_vocab().values() if i not in special), default=0)
    end = getattr(config, "eos_token_id", None)
    return torch.tensor([usual] * (_TOKENS - 1) + [end if isinstance(end, int) else usual])
