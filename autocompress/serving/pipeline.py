"""An exported folder, run: text in, label out, on the runtime it was measured on; or its torch module.

To serve a model should take little: where the runtime is not torch, neither torch nor transformers is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autocompress.errors import ConfigError, NotFinite
from autocompress.runtimes.runtime import Session, find_runtime
from autocompress.serving.folder import Serving, read_serving
from autocompress.serving.safety.inspection import inspect
from autocompress.serving.tokenizer import Tokens
from autocompress.tasks import finite
from autocompress.tasks.data.pairs import Text, checked_texts
from autocompress.tasks.tokenization import padding

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from autocompress.runtimes.runtime import Inputs

PACKAGES = ("numpy", "pydantic", "tokenizers")  # what a pipeline needs besides its runtime's own
_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def load(folder: str | Path) -> nn.Module:
    """The exported module, in eval mode, with the Hugging Face interface. Reads JSON and safetensors only."""
    from autocompress.serving import load

    read_serving(Path(folder))
    inspect(Path(folder))
    return load.load(Path(folder))


def pipeline(folder: str | Path) -> Pipeline:
    """The exported artefact, ready to classify."""
    return Pipeline(Path(folder))


class Pipeline:
    """`pipeline("a text")` or `pipeline(["a", "b"])`: one `{"label", "score"}` a text, its probability the score.

    A model of pairs takes `pipeline(("a", "b"))` or a list of such tuples.
    """

    def __init__(self, folder: Path) -> None:
        self.serving = read_serving(folder)
        inspect(folder)
        self.folder = folder
        self.labels, self.target = self.serving.labels, self.serving.target
        self.session = _opened(folder, self.serving)
        self._fill = self.serving.inputs or padding(self.tokenizer)  # exports of the first days do not say it
        self._tokens = Tokens(folder, self.serving.task.max_length)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The same as transformers has it. A call does without: this one takes twice as long, and a second to load."""
        from autocompress.models.loading import load_tokenizer

        return load_tokenizer(str(self.folder))

    def __call__(self, texts: Text | Sequence[Text]) -> list[dict[str, Any]]:
        """Raises `ConfigError` for single texts where the model reads pairs, and for pairs where it does not."""
        listed = [texts] if isinstance(texts, str | tuple) else texts
        return [self._answer(row_C) for row_C in self.logits(listed).tolist()]

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """(N, C), in batches of the target's size, texts of like length together. Raises as a call does."""
        texts = checked_texts(texts, self.serving.columns)
        if len(texts) == 1:  # no sorting, and no threads to encode with
            return self.session.run(self._batch([self._tokens.of(texts[0])]))
        encoded, size = self._tokens.of_each(texts), self.target.batch_size
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        runs = [[encoded[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
        rows = [np.zeros((0, len(self.labels)), np.float32), *(self.session.run(self._batch(run)) for run in runs)]
        return np.concatenate(rows)[np.argsort(order)] if runs else rows[0]

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


class _Checked:
    """A session that answers with one number a text and label, or with a sentence."""

    def __init__(self, folder: Path, session: Session, labels: int) -> None:
        self._folder, self._session, self._labels = folder, session, labels

    def run(self, batch: Inputs) -> np.ndarray:
        """Logits (B, C). Raises `ConfigError` for anything else, and for what the runtime raises."""
        try:
            logits = self._session.run(batch)
        except Exception as e:  # as in `_opened`
            raise _unlike(self._folder, "a model that answers", e) from e
        form = (np.asarray(logits).dtype.kind, np.shape(logits))
        if form != ("f", (len(next(iter(batch.values()))), self._labels)):
            raise ConfigError(
                f"{self._folder}: should hold a model that gives {self._labels} numbers a text, one a label. "
                f"Got {np.asarray(logits).dtype} of {form[1]}. Export the model again."
            )
        try:
            finite.check(logits)
        except NotFinite as e:
            raise ConfigError(f"{self._folder}: should hold a model that answers with finite numbers. Got: {e}.") from e
        return logits


def _opened(folder: Path, serving: Serving) -> Session:
    """Raises `ConfigError` for an artefact that the runtime cannot open."""
    target = serving.target
    if target.runtime == "torch":
        from autocompress.serving import load

        load.check(folder)
    try:
        return _Checked(folder, find_runtime(target.runtime).open(folder, target), len(serving.labels))
    except ConfigError:
        raise
    except Exception as e:  # every runtime has its own errors for a file that it cannot read
        raise _unlike(folder, f"a model that {target.runtime} opens on {target.device}", e) from e


def _unlike(folder: Path, what: str, error: Exception) -> ConfigError:
    said = " ".join(str(error).split()) or type(error).__name__
    cut = said if len(said) < 250 else f"{said[:120]} ... {said[-120:]}"  # the place first, the reason last
    return ConfigError(f"{folder}: should hold {what}. Got: {cut}")
