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


_ENDLESS = 2**31  # where nothing is said, or 1e30


class Tokens:
    """Cuts texts at `max_length` tokens and fills nothing up. Raises `ConfigError` where the files make no sense."""

    def __init__(self, folder: Path, max_length: int, *, words: bool = False, keeps_end: bool = False) -> None:
        """`words`: a text is a sequence of words. `keeps_end`: it is cut at its beginning, wherever others are."""
        self._words = words
        self._where, self._most = f"{folder}: tokenizer.json", max_length
        where = f"{folder}: tokenizer_config.json"
        found = settings.read(folder / "tokenizer_config.json", where)
        side = found.get("truncation_side", "right") if isinstance(found, dict) else None
        if side not in ("left", "right"):
            raise ConfigError(f"{where} should have a truncation_side of left or right. Got {short(side)}.")
        self._config = found if isinstance(found, dict) else {}
        with self._readable():
            self._rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._rust.enable_truncation(max_length, direction="left" if keeps_end else side)
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

    @property
    def longest(self) -> int:
        """How many tokens the model can read, as its tokenizer has it."""
        known = self._config.get("model_max_length")
        return int(known) if isinstance(known, int | float) and 0 < known < _ENDLESS else _ENDLESS

    @property
    def end(self) -> int | None:
        """The token that ends a text, if there is one."""
        known = self._config.get("eos_token")
        name = known.get("content") if isinstance(known, dict) else known
        return self._rust.token_to_id(name) if isinstance(name, str) else None

    def written(self, before: Sequence[int], new: Sequence[int]) -> str:
        """What the new tokens say behind those before them."""
        with self._readable():
            head, whole = (self._rust.decode(list(ids)) for ids in (before, [*before, *new]))
            return whole.removeprefix(head) if whole.startswith(head) else self._rust.decode(list(new))

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
