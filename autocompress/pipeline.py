"""Run an exported folder: text in, label out, on the runtime it was measured on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from autocompress import models, structure
from autocompress.data.encoding import encode, padding
from autocompress.errors import ConfigError
from autocompress.examples import Examples
from autocompress.runtime import find_runtime
from autocompress.settings import Target

Text = str | tuple[str, str]


def load(folder: str | Path) -> nn.Module:
    """The exported module, in eval mode, with the Hugging Face interface. Reads JSON and safetensors only."""
    _serving(Path(folder))
    return structure.load(Path(folder))


def pipeline(folder: str | Path) -> Pipeline:
    """The exported artefact, ready to classify."""
    return Pipeline(Path(folder))


class Pipeline:
    """`pipeline("a text")` or `pipeline(["a", "b"])`: one `{"label", "score"}` a text, its probability the score."""

    def __init__(self, folder: Path) -> None:
        serving = _serving(folder)
        self.labels: list[str] = serving["labels"]
        self.target = Target(**serving["target"])
        self._max_length = serving["max_length"]
        self._tokenizer = models.load_tokenizer(str(folder))
        self._session = find_runtime(self.target.runtime).open(folder, self.target)

    def __call__(self, texts: Text | Sequence[Text]) -> list[dict[str, Any]]:
        """A pair of texts is a tuple."""
        listed = [texts] if isinstance(texts, str | tuple) else list(texts)
        probabilities_NC = _softmax(self.logits(listed))
        best_N = probabilities_NC.argmax(1)
        return [
            {"label": self.labels[best], "score": float(row_C[best])}
            for best, row_C in zip(best_N, probabilities_NC, strict=True)
        ]

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """(N, C), in batches of the target's size, texts of like length together."""
        examples = self._examples(texts)
        length = [len(ids) for ids in examples.fields["input_ids"]]
        order = sorted(range(len(texts)), key=length.__getitem__)
        size = self.target.batch_size
        rows = [self._session.run(examples.batch(order[at : at + size])) for at in range(0, len(order), size)]
        out = np.concatenate(rows) if rows else np.zeros((0, len(self.labels)), np.float32)
        return out[np.argsort(order)]

    def _examples(self, texts: Sequence[Text]) -> Examples:
        columns = [(text,) if isinstance(text, str) else text for text in texts]
        fields = encode(self._tokenizer, columns, self._max_length)
        return Examples(fields, [0] * len(texts), padding(self._tokenizer))


def _softmax(logits_NC: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    out: np.ndarray = shifted / shifted.sum(1, keepdims=True)
    return out


def _serving(folder: Path) -> dict[str, Any]:
    file = folder / "serving.json"
    if not file.exists():
        raise ConfigError(
            f"{folder}: there is no exported model here. `autocompress export STUDY --to {folder}` makes one."
        )
    serving: dict[str, Any] = json.loads(file.read_text())
    if serving.get("format") != 1:
        raise ConfigError(
            f"{file}: this version reads format 1. Got {serving.get('format')!r}. Install a newer autocompress."
        )
    return serving
