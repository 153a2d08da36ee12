"""Silence around libraries that write to standard error what is no user's business."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def say_warnings_plainly() -> None:
    """In one line each, without the place in the code that it came from: for people who started a command."""

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        return f"note {message}\n"

    warnings.formatwarning = plain


@contextmanager
def quiet() -> Iterator[None]:
    """Without load reports, retries and progress bars, which transformers and the hub write to standard error."""
    from huggingface_hub.utils import logging as hub
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as models

    level, hub_level = models.get_verbosity(), hub.get_verbosity()
    bars, hub_bars = models.is_progress_bar_enabled(), not are_progress_bars_disabled()
    models.set_verbosity(logging.ERROR)
    hub.set_verbosity(logging.ERROR)
    models.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        models.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            models.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
