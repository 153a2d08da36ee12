"""Texts as the numbers a model reads. Used by the search and by exported models alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autocompress.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Texts = Sequence[tuple[str, ...]]  # of each row its one text, or its two


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, max_length: int, *, words: bool = False
) -> dict[str, list[list[int]]]:
    """Tokenise N texts or pairs, or with `words` N rows of words.

    Every field holds N lists of at most `max_length` numbers, not padded.
    """
    if not texts:
        return {name: [] for name in padding(tokenizer)}
    columns = [list(map(list, texts))] if words else list(map(list, zip(*texts, strict=True)))
    encoded = tokenizer(*columns, truncation=True, max_length=max_length, is_split_into_words=words)
    return {name: encoded[name] for name in padding(tokenizer)}


def padding(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The fields this tokenizer's model reads, and what fills each beyond a text's end.

    Raises `ConfigError` if the tokenizer has neither a padding nor an end-of-sequence token.
    """
    fill = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if fill is None:
        raise ConfigError(
            "model: its tokenizer must have a padding or an end-of-sequence token. Got neither. "
            "Set tokenizer.pad_token and save the tokenizer again."
        )
    types = {"token_type_ids": 0} if "token_type_ids" in tokenizer.model_input_names else {}
    return {"input_ids": fill, "attention_mask": 0} | types
