"""The Rust half of an exported folder's tokenizer: texts to tokens, without transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from autocompress.errors import ConfigError, foreign, short
from autocompress.serving.safety import settings
from autocompress.tasks.data.pairs import Text

if TYPE_CHECKING:
    from tokenizers import Encoding


class Tokens:
    """Cuts texts at `max_length` tokens and fills nothing up. Raises `ConfigError` where the files make no sense."""

    def __init__(self, folder: Path, max_length: int, *, words: bool = False) -> None:
        """`words`: a text is a sequence of words."""
        self._words = words
        self._where, self._most = f"{folder}: tokenizer.json", max_length
        where = f"{folder}: tokenizer_config.json"
        found = settings.read(folder / "tokenizer_config.json", where)
        side = found.get("truncation_side", "right") if isinstance(found, dict) else None
        if side not in ("left", "right"):
            raise ConfigError(f"{where} should have a truncation_side of left or right. Got {short(side)}.")
        with self._readable():
            self._rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._rust.enable_truncation(max_length, direction=side)
            self._rust.no_padding()
            self._rust.encode("a text")  # some of its parts fail only now

    def of(self, text: Text) -> Encoding:
        """The tokens of one text."""
        with self._readable():
            if self._words:
                return self._checked(self._rust.encode(text, is_pretokenized=True))
            return self._checked(self._rust.encode(text) if isinstance(text, str) else self._rust.encode(*text))

    def of_each(self, texts: Sequence[Text]) -> list[Encoding]:
        """The tokens of several, by several threads."""
        with self._readable():
            return [self._checked(encoding) for encoding in self._encoded(list(texts))]

    def _encoded(self, texts: list[Text]) -> list[Encoding]:
        """The fast one does not tell which word a token is of, and is not asked for where that matters."""
        if self._words:
            return self._rust.encode_batch(texts, is_pretokenized=True)
        return self._rust.encode_batch_fast(texts)

    def _checked(self, encoding: Encoding) -> Encoding:
        """A template may repeat what was cut."""
        if len(encoding) > self._most:
            raise ConfigError(f"{self._where} should give at most {self._most} tokens a text. Got {len(encoding)}.")
        return encoding

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What Rust raises, as our sentence. What is no text is the caller's mistake, and a `TypeError`."""
        try:
            yield
        except (ConfigError, TypeError):
            raise
        except BaseException as e:
            if not foreign(e):
                raise
            raise ConfigError(f"{self._where} should hold a tokenizer. Got: {str(e)[:200]}") from e
