"""Small tables in files, a tokenizer that knows eight words, and what reading them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from autocompress.errors import ConfigError
from autocompress.space.settings import TaskSettings
from autocompress.tasks.data.splits import Texts, load_texts

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "book"]
TABLE = {
    "text": [f"good film {i}" if i % 2 else f"bad book {i}" for i in range(40)],
    "label": [i % 2 for i in range(40)],
}
BY_SPLIT = "name files by split: {train: FILE, validation: FILE, test: FILE}."


def tokenizer(**more: Any) -> PreTrainedTokenizerFast:
    """A word a token, between [CLS] and [SEP]."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    options = {"pad_token": "[PAD]", "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]} | more
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", **options)


def table(labels: list[Any], text: str = "good film") -> dict[str, list[Any]]:
    return {"text": [f"{text} {i}" for i in range(len(labels))], "label": labels}


def write(folder: Path, **splits: dict[str, list[Any]]) -> dict[str, str]:
    """One parquet file a split; what `task.data` then says."""
    for split, columns in splits.items():
        parquet.write_table(pyarrow.table(columns), folder / f"{split}.parquet")
    return {split: f"{split}.parquet" for split in splits}


def load(folder: Path, data: Any, seed: int = 0, **more: Any) -> Texts:
    return load_texts(TaskSettings(data=data, **more), seed, folder)


def message(folder: Path, data: Any, **more: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, data, **more)
    return str(error.value)


def sizes(texts: Texts) -> tuple[int, int, int]:
    return len(texts.train.texts), len(texts.validation.texts), len(texts.test.texts)
