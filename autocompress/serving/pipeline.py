"""An exported folder, run: text in, answer out, on the runtime it was measured on; or its torch module.

To serve a model should take little: where the runtime is not torch, neither torch nor transformers is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autocompress.errors import ConfigError, NotFinite, short
from autocompress.runtimes.runtime import Session, find_runtime
from autocompress.serving.continuation import USUAL, checked_count, continuations
from autocompress.serving.folder import SERVING, Serving, read_serving
from autocompress.serving.safety import settings
from autocompress.serving.safety.inspection import inspect
from autocompress.serving.tokenizer import Tokens
from autocompress.tasks import finite
from autocompress.tasks.data.pairs import Text
from autocompress.tasks.kind import TaskKind
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
    """The exported artefact, ready to answer."""
    return Pipeline(Path(folder))


class Pipeline:
    """`pipeline("a text")` or `pipeline(["a", "b"])`: a list with one answer a text.

    A classifier answers with `{"label", "score"}`, the score its probability; a tagger of words with a list of
    entities; a model that continues texts with `{"continuation"}`, of 32 tokens at most or of `max_new_tokens`. A model
    of pairs takes `pipeline(("a", "b"))` or a list of such tuples.
    """

    def __init__(self, folder: Path) -> None:
        self.serving = read_serving(folder)
        inspect(folder)
        self.folder = folder
        self.labels, self.target, self.kind = self.serving.labels, self.serving.target, self.serving.kind
        self.session = _opened(folder, self.serving)
        self._fill = self.serving.inputs or padding(self.tokenizer)  # exports of the first days do not say it
        most, kind = self.serving.task.max_length, self.kind
        self._tokens = Tokens(folder, most, words=kind.words, keeps_end=kind.continues)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The same as transformers has it. A call does without: this one takes twice as long, and a second to load."""
        from autocompress.models.loading import load_tokenizer

        return load_tokenizer(str(self.folder))

    def __call__(self, texts: Text | Sequence[Text], *, max_new_tokens: int | None = None) -> list[Any]:
        """Raises `ConfigError` for single texts where the model reads pairs, and for pairs where it does not."""
        listed = self.kind.given(texts)
        if self.kind.continues:
            count = checked_count(USUAL if max_new_tokens is None else max_new_tokens)
            return [
                self.kind.answer(*found, text) for found, text in zip(self._written(listed, count), listed, strict=True)
            ]
        if max_new_tokens is not None:
            raise ConfigError(
                f"max_new_tokens is for models that continue texts. This is {self.kind.model_is} texts. Leave it out."
            )
        return [self.kind.answer(*found, text) for found, text in zip(self._run(listed), listed, strict=True)]

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """(N, C) of a classifier, in batches of the target's size. Raises as a call does."""
        found = [logits for logits, _ in self._run(self.kind.given(texts))]
        return np.stack(found) if found else np.zeros((0, len(self.labels)), np.float32)

    def _run(self, texts: list[Any]) -> list[tuple[np.ndarray, Encoding]]:
        """The logits of each, and its tokens; texts of like length together."""
        if len(texts) == 1:  # no sorting, and no threads to encode with
            [encoding] = encoded = [self._tokens.of(texts[0])]
            return [(self.session.run(self._batch(encoded))[0], encoding)]
        encoded, size = self._tokens.of_each(texts), self.target.batch_size
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        runs = [[encoded[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
        answered = [logits for run in runs for logits in self.session.run(self._batch(run))]
        by_text = dict(zip(order, answered, strict=True))
        return [(by_text[i], encoding) for i, encoding in enumerate(encoded)]

    def _written(self, texts: list[Any], count: int) -> Iterator[tuple[str, Encoding]]:
        """What follows each, and its tokens; texts of like length together."""
        encoded, size = self._tokens.of_each(texts), self.target.batch_size
        if not all(map(len, encoded)):
            raise ConfigError(f"{self.folder}: tokenizer.json should give a token or more for every text. Got none.")
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        found: dict[int, list[int]] = {}
        for run in (order[at : at + size] for at in range(0, len(order), size)):
            prompts = [encoded[i].ids for i in run]
            new = continuations(self.session, prompts, count, self._ends, self._tokens.longest)
            found |= zip(run, new, strict=True)
        return ((self._tokens.written(one.ids, found[i]), one) for i, one in enumerate(encoded))

    @cached_property
    def _ends(self) -> frozenset[int]:
        """The tokens that end a text: the tokenizer's, and those of the model's own settings."""
        config = settings.read(self.folder / "config.json", f"{self.folder}: config.json")
        known = config.get("eos_token_id") if isinstance(config, dict) else None
        listed = [*(known if isinstance(known, list) else [known]), self._tokens.end]
        return frozenset(token for token in listed if isinstance(token, int))

    def _batch(self, run: list[Encoding]) -> dict[str, np.ndarray]:
        """One row a text, filled up to the last one, which is the longest."""
        length = len(run[-1])
        return {
            name: np.array([getattr(one, _PARTS[name]) + [fill] * (length - len(one)) for one in run])
            for name, fill in self._fill.items()
        }


class _Checked:
    """A session that answers as its kind of task has it, or with a sentence."""

    def __init__(self, folder: Path, session: Session, kind: TaskKind) -> None:
        self._folder, self._session, self._kind, self.labels = folder, session, kind, session.labels

    def run(self, batch: Inputs) -> np.ndarray:
        """Logits. Raises `ConfigError` for anything else, and for what the runtime raises."""
        try:
            logits = self._session.run(batch)
        except Exception as e:  # as in `_opened`
            raise _unlike(self._folder, "a model that answers", e) from e
        return self._checked(logits, batch)

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        """The same with what is remembered."""
        try:
            found = self._session.outputs(batch)
        except Exception as e:  # as in `_opened`
            raise _unlike(self._folder, "a model that goes on", e) from e
        return found | {"logits": self._checked(found["logits"], batch)}

    def _checked(self, logits: np.ndarray, batch: Inputs) -> np.ndarray:
        if np.asarray(logits).dtype.kind != "f" or not self._kind.fits(np.shape(logits), batch):
            raise ConfigError(
                f"{self._folder}: should hold a model that gives {self._kind.gives}. "
                f"Got {np.asarray(logits).dtype} of {np.shape(logits)}. Export the model again."
            )
        try:
            finite.check(logits)
        except NotFinite as e:
            raise ConfigError(f"{self._folder}: should hold a model that answers with finite numbers. Got: {e}.") from e
        return logits


def _opened(folder: Path, serving: Serving) -> Session:
    """Raises `ConfigError` for an artefact that the runtime cannot open."""
    target = serving.target
    runtime = find_runtime(target.runtime)
    if not runtime.opened_by:  # the module itself
        from autocompress.serving import load

        load.check(folder)
    try:
        session = runtime.open(folder, target)
    except ConfigError:
        raise
    except Exception as e:  # every runtime has its own errors for a file that it cannot read
        raise _unlike(folder, f"a model that {target.runtime} opens on {target.device}", e) from e
    if session.labels not in ((), serving.labels):
        where = f"{folder}: {runtime.artefact(folder).name}"
        wanted, found = (short(", ".join(labels)) for labels in (serving.labels, session.labels))
        raise ConfigError(
            f"{where} should give the labels {wanted}, as {SERVING} does. Got {found}. Export the model again."
        )
    return _Checked(folder, session, serving.kind)


def _unlike(folder: Path, what: str, error: Exception) -> ConfigError:
    said = " ".join(str(error).split()) or type(error).__name__
    cut = said if len(said) < 250 else f"{said[:120]} ... {said[-120:]}"  # the place first, the reason last
    return ConfigError(f"{folder}: should hold {what}. Got: {cut}")
