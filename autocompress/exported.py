"""An exported folder, run: text in, label out, on the runtime it was measured on; or its torch module.

To serve a model should take little: where the runtime is not torch, neither torch nor transformers is imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from autocompress.data.encoding import padding
from autocompress.errors import ConfigError
from autocompress.manifest import read_serving
from autocompress.runtime import Session, find_runtime
from autocompress.safety import inspect
from autocompress.settings import Target

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import nn
    from transformers import PreTrainedTokenizerBase

Text = str | tuple[str, str]
PACKAGES = ("numpy", "pydantic", "tokenizers")  # what a pipeline needs besides its runtime's own
_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def load(folder: str | Path) -> nn.Module:
    """The exported module, in eval mode, with the Hugging Face interface. Reads JSON and safetensors only."""
    from autocompress import reconstruction

    read_serving(Path(folder))
    inspect(Path(folder))
    return reconstruction.load(Path(folder))


def pipeline(folder: str | Path) -> Pipeline:
    """The exported artefact, ready to classify."""
    return Pipeline(Path(folder))


class Pipeline:
    """`pipeline("a text")` or `pipeline(["a", "b"])`: one `{"label", "score"}` a text, its probability the score."""

    def __init__(self, folder: Path) -> None:
        self.serving = read_serving(folder)
        inspect(folder)
        self.folder = folder
        self.labels, self.target = self.serving.labels, self.serving.target
        self.session = _opened(folder, self.target)
        self._fill = self.serving.inputs or padding(self.tokenizer)  # exports of the first days do not say it
        self._rust = _tokenizer(folder, self.serving.task.max_length)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The same as transformers has it. A call does without: this one takes twice as long, and a second to load."""
        from autocompress.models import load_tokenizer

        return load_tokenizer(str(self.folder))

    def __call__(self, texts: Text | Sequence[Text]) -> list[dict[str, Any]]:
        """A pair of texts is a tuple."""
        listed = [texts] if isinstance(texts, str | tuple) else texts
        return [self._answer(row_C) for row_C in self.logits(listed).tolist()]

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """(N, C), in batches of the target's size, texts of like length together."""
        if len(texts) == 1:  # no sorting, and no threads to encode with
            return self.session.run(self._batch([self._encode(texts[0])]))
        encoded, size = self._rust.encode_batch_fast(list(texts)), self.target.batch_size
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        runs = [[encoded[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
        rows = [np.zeros((0, len(self.labels)), np.float32), *(self.session.run(self._batch(run)) for run in runs)]
        return np.concatenate(rows)[np.argsort(order)] if runs else rows[0]

    def _encode(self, text: Text) -> Encoding:
        encoded: Encoding = self._rust.encode(text) if isinstance(text, str) else self._rust.encode(*text)
        return encoded

    def _batch(self, run: list[Encoding]) -> dict[str, np.ndarray]:
        """One row a text, filled up to the last one, which is the longest."""
        length = len(run[-1])
        return {
            name: np.array([getattr(one, _PARTS[name]) + [fill] * (length - len(one)) for one in run])
            for name, fill in self._fill.items()
        }

    def _answer(self, logits_C: list[float]) -> dict[str, Any]:
        """The best label and its softmax. In plain Python: NumPy takes ten times as long for a few numbers."""
        top = max(logits_C)
        return {
            "label": self.labels[logits_C.index(top)],
            "score": 1 / sum(math.exp(logit - top) for logit in logits_C),
        }


def _opened(folder: Path, target: Target) -> Session:
    """Raises `ConfigError` for an artefact that the runtime cannot open."""
    if target.runtime == "torch":
        from autocompress import reconstruction

        reconstruction.check(folder)
    try:
        return find_runtime(target.runtime).open(folder, target)
    except ConfigError:
        raise
    except Exception as e:  # every runtime has its own errors for a file that it cannot read
        said = str(e).splitlines()[0][:200]
        raise ConfigError(
            f"{folder}: should hold a model that {target.runtime} opens on {target.device}. Got: {said}"
        ) from e


def _tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """The Rust half of the folder's tokenizer, which cuts at `max_length` and fills nothing up."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(max_length, direction=settings.get("truncation_side", "right"))
    except Exception as e:  # it has no errors of its own
        raise ConfigError(f"{folder}: tokenizer.json should hold a tokenizer. Got: {str(e)[:200]}") from e
    tokenizer.no_padding()
    return tokenizer
