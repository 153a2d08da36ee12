"""The rows of a table are told apart, and drawn."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autocompress.cli.table import PlainTable
from autocompress.engine.trial import Trial
from autocompress.report.tables import footnote, front_rows, short, trial_rows
from autocompress.space.recipe import Recipe
from autocompress.trials.job import BASELINE

FIGURES = {"score": 0.7, "latency_ms": 1.0, "speedup": 2.0, "speedup_low": 2.0, "speedup_high": 2.0, "size_mb": 20.0}


def trial(number: int, lr: float = 1e-3, *, per_token: bool = True, keep: float = 0.5, score: float = 0.7) -> Trial:
    steps = [{"neurons": {"keep": keep}}, {"finetune": {"lr": lr}}, {"int8_dynamic": {"per_token": per_token}}]
    return Trial(number, "complete", Recipe.load(steps), measurement=FIGURES | {"score": score})


def test_rows_show_the_knobs_in_which_they_differ() -> None:
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES)
    every = [
        trial(1),
        trial(2, 0.00312, score=0.69),
        trial(3, per_token=False, score=0.68),
        trial(4, keep=0.25, score=0.6),
    ]
    assert [row[1] for row in front_rows(baseline, every)] == [
        "baseline",
        "neurons 0.5 + finetune (lr: 0.001) + int8_dynamic (per_token: true)",
        "neurons 0.5 + finetune (lr: 0.00312) + int8_dynamic (per_token: true)",
        "neurons 0.5 + finetune (lr: 0.001) + int8_dynamic (per_token: false)",
        "neurons 0.25 + finetune + int8_dynamic",
    ]  # fmt: skip
    assert [row[2] for row in trial_rows(every)] == [row[1] for row in front_rows(baseline, every)[1:]]


def test_what_rounds_alike_is_told_apart_too() -> None:
    rows = trial_rows([trial(1, keep=0.501), trial(2, keep=0.504)])
    assert [row[2] for row in rows] == [
        "neurons 0.5 (keep: 0.501) + finetune + int8_dynamic", "neurons 0.5 (keep: 0.504) + finetune + int8_dynamic"
    ]  # fmt: skip


def test_a_row_that_is_alone_is_short() -> None:
    [row] = trial_rows([trial(1)])
    assert row[2] == short(trial(1)) == "neurons 0.5 + finetune + int8_dynamic"
    assert trial_rows([trial(1), trial(2)])[1][2] == row[2], "the same recipe again"


def test_a_latency_that_was_not_measured_in_quiet_is_marked_and_explained() -> None:
    quiet, loud = (replace(trial(n), measurement=FIGURES | {"latency_quiet": float(n)}) for n in (1, 0))
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES)
    assert [row[3] for row in front_rows(baseline, [quiet, loud])] == ["1.00", "1.00", "~1.00"]
    assert [row[4] for row in trial_rows([quiet, loud])] == ["1.00", "~1.00"]
    assert footnote([baseline, quiet]) == ""
    assert footnote([quiet, loud]).startswith("~ others on this machine went on measuring or training")


CELLS = {
    "one column is too wide": [["t001", "layers 0.5 (keep: 0.546, strategy: top) + finetune (lr: 0.00015)", ""]],
    "a word is too long": [["t001", "a_word_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on", "9"]],
    "other letters": [["日本語", "これは長い文章です。" * 6, "é"], ["🙂", "", "ü"]],
    "several lines": [["a\nb", "one\ntwo three\n", ""], ["c", "d", "e"]],
    "what looks like markup": [["[bold]", "[/]", "a\\[b]"]],
    "no rows": [],
}  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("rows", CELLS.values(), ids=CELLS.keys())
def test_a_table_looks_as_rich_draws_it(rows: list[list[str]], width: int) -> None:
    columns = ("trial", "the recipe", "")
    theirs = Table(*columns)
    for row in rows:
        theirs.add_row(*map(Text, row))
    assert printed(PlainTable(columns, rows), width) == printed(theirs, width)


def printed(table: PlainTable | Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    console.print(table, crop=False)
    assert isinstance(console.file, io.StringIO)
    return re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())


def test_the_widest_columns_of_a_table_give_way_first() -> None:
    lines = printed(PlainTable(("a", "b", "c"), [["x" * 30, "y " * 20, "z"]]), 40).splitlines()
    assert {len(line) for line in lines} == {40}
    assert [len(cell) for cell in lines[0][1:-1].split("┳")] == [16, 17, 3]
