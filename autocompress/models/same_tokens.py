"""Whether two checkpoints read a text as the same numbers: a teacher is fed what the model's own tokenizer gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.errors import short
from autocompress.tasks.task import Task
from autocompress.tasks.tokenization import encode, padding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_COMPARED = 1000  # texts of each split


def difference(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, task: Task, *, pair_types: bool) -> str:
    """The first difference in words, or nothing. `pair_types`: whether the teacher has token types for both of a pair.

    Files that differ may mean the same, so tokens are compared and what a thousand texts of a split become.
    """
    if ours.backend_tokenizer.to_str() != theirs.backend_tokenizer.to_str():
        known = theirs.get_vocab()
        for token, number in sorted(ours.get_vocab().items(), key=lambda entry: entry[1]):
            if known.get(token) != number:
                return f"{token!r} is number {number} of the model's and {known.get(token, 'none')} of the teacher's"
        if found := _texts(ours, theirs, task):
            return found
    if pair_types and len(task.settings.text) > 1 and "token_type_ids" not in padding(ours):
        return "the teacher tells the texts of a pair apart by token_type_ids, which the model's does not give"
    return ""


def _texts(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, task: Task) -> str:
    texts = [*task.texts.train.texts[:_COMPARED], *task.texts.validation.texts[:_COMPARED]]
    length = task.settings.max_length
    rows = (encode(tokenizer, texts, length, words=task.kind.words)["input_ids"] for tokenizer in (ours, theirs))
    for text, our_row, their_row in zip(texts, *rows, strict=True):
        if our_row != their_row:
            said = short(text[0] if len(text) == 1 else text)
            return f"the text {said} becomes {short(our_row)} by the model's and {short(their_row)} by the teacher's"
    return ""
