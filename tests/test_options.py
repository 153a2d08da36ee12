"""Times that people write on the command line."""

from __future__ import annotations

import pytest

from autocompress.cli.options import seconds_of
from autocompress.errors import ConfigError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("45", 45), (".5h", 1800)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of("--timeout", text) == seconds


@pytest.mark.parametrize("text", ["", "s", "soon", "\u00b2", "\u0663m", "1e3", "-5", "nan", "1.2.3", ".", "5 m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        seconds_of("--timeout", text)
    assert str(caught.value) == f"--timeout: it should be a time such as 90s, 30m or 2h. Got {text!r}."
