"""Label names: the same classes under other spellings are told from other classes."""

from __future__ import annotations

import pytest

from autocompress.tasks.label_names import agree, rows


@pytest.mark.parametrize(
    ("theirs", "ours", "order"),
    [
        (("bad", "good"), ("bad", "good"), [0, 1]),
        (("good", "bad"), ("bad", "good"), [1, 0]),
        (("NEGATIVE", "POSITIVE"), ("negative", "positive"), [0, 1]),
        (("not_good", "good"), ("good", "not good"), [1, 0]),
        (("Good", "good"), ("good", "Good"), [1, 0]),
        (("LABEL_0", "LABEL_1"), ("LABEL_1", "LABEL_0"), [1, 0]),
        (("spam", "ham"), ("bad", "good"), None),
        (("LABEL_0", "LABEL_1"), ("bad", "good"), None),
    ],
)
def test_rows(theirs: tuple[str, ...], ours: tuple[str, ...], order: list[int] | None) -> None:
    assert rows(theirs, ours) == order


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        (("good", "bad"), ("bad", "good"), True),
        (("LABEL_0", "LABEL_1"), ("bad", "good"), True),
        (("0", "1"), ("bad", "good"), True),
        (("NEGATIVE", "POSITIVE"), ("0", "1"), True),
        (("spam", "ham"), ("bad", "good"), False),
        (("entailment", "neutral", "contradiction"), ("bad", "fair", "good"), False),
        (("NEGATIVE", "POSITIVE"), ("1", "2"), False),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("bad", "good"), False),
        (("LABEL_1", "LABEL_0"), ("bad", "good"), False),
    ],
)
def test_agree(theirs: tuple[str, ...], ours: tuple[str, ...], verdict: bool) -> None:
    assert agree(theirs, ours) is verdict
