"""The rows of a table are told apart, and drawn."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError
from autocompress.report.tables import footnote, front_rows
from autocompress.report.terminal.comparison import comparison
from autocompress.report.terminal.sheet import Column, Sheet, text
from autocompress.report.terminal.table import PlainTable
from autocompress.report.terminal.trial_sheets import front_sheet, ordered, refused_sheet, trial_sheet
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


def recipes(trials: list[Trial]) -> list[str]:
    return [text(row[1]) for row in trial_sheet(trials).rows]


def test_in_a_terminal_recipes_are_told_apart_by_as_little_as_will_do() -> None:
    every = [trial(1), trial(2, 0.00312), trial(3, per_token=False), trial(4, keep=0.25)]
    assert recipes(every) == [
        "neurons 0.5 + lr=0.001 + per_token=true", "neurons 0.5 + lr=0.00312 + per_token=true",
        "neurons 0.5 + lr=0.001 + per_token=false", "neurons 0.25",
    ]  # fmt: skip
    assert trial_sheet(every).notes == ["Every recipe has also: finetune + int8_dynamic."]
    assert recipes([trial(1, 0.001), trial(2, 0.002, keep=0.501)]) == ["neurons 0.5", "neurons 0.501"], "one is enough"
    twice = [Recipe.load([{"finetune": {"lr": lr}}, {"finetune": {"lr": 1e-4}}]) for lr in (1e-3, 1e-2)]
    assert recipes([Trial(n, "complete", recipe) for n, recipe in enumerate(twice)]) == [
        "finetune lr=0.001", "finetune lr=0.01"
    ]  # fmt: skip


def test_what_rounds_alike_is_told_apart_too() -> None:
    assert recipes([trial(1, keep=0.501), trial(2, keep=0.504)]) == ["neurons 0.501", "neurons 0.504"]


def test_a_row_that_is_alone_is_short() -> None:
    assert recipes([trial(1)]) == ["neurons 0.5 + finetune + int8_dynamic"]
    assert recipes([trial(1), trial(2)]) == 2 * ["neurons 0.5 + finetune + int8_dynamic"], "the same recipe again"


def test_a_latency_that_was_not_measured_in_quiet_is_marked_and_explained() -> None:
    quiet, loud = (replace(trial(n), measurement=FIGURES | {"latency_quiet": float(n)}) for n in (1, 0))
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES)
    assert [row[3] for row in front_rows(baseline, [quiet, loud])] == ["1.00", "1.00", "~1.00"]
    assert [row[3] for row in trial_sheet([quiet, loud]).rows] == ["1.00", "~1.00"]
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
    columns = ("trial", "the recipe", "more")
    theirs = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in columns:
        theirs.add_column(column, overflow="fold")
    for row in rows:
        theirs.add_row(*map(Text, row))
    assert printed(PlainTable(Sheet(tuple(map(Column, columns)), rows)), width) == printed(theirs, width)


def printed(table: PlainTable | Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    console.print(table, crop=False)
    assert isinstance(console.file, io.StringIO)
    return re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())


def test_the_widest_columns_of_a_table_give_way_first_and_no_word_is_cut() -> None:
    lines = printed(PlainTable(Sheet((Column("a"), Column("b"), Column("c")), [["x" * 30, "y " * 20, "z"]])), 40)
    _, rule, *body, last = lines.splitlines()
    assert len(rule) == 40
    assert body[0].split() == ["x" * 30, "y", "y", "y", "z"]
    assert last.split() == ["y"] * 2


LONG = [{"weighted_low_rank": {}}, {"soft_labels": {}}, {"finetune": {}}, {"int8_dynamic": {}}]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_trials_take_a_line_each_at_any_width_and_what_is_left_out_is_said(width: int) -> None:
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES)
    plain = Trial(1, "complete", Recipe.load(LONG[2:3]), measurement=FIGURES, violations={"size_mb <= 10": 1.0})
    tuned = [Recipe.load([*LONG[:2], {"finetune": {"lr": n * 1e-3}}, LONG[3]]) for n in (2, 3)]
    every = [Trial(n, "complete", recipe, measurement=FIGURES) for n, recipe in enumerate(tuned, 2)]
    said = printed(PlainTable(trial_sheet([baseline, plain, *every])), width)
    lines = said.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line.startswith(("baseline", "t0"))] == [
        "baseline", "t001", "t002", "t003"
    ]  # fmt: skip
    assert len(lines) <= 10
    assert "over size_mb" in said
    assert "lr=0.002" in said, "what only one row has stays longest"
    for note in ("Left out: ", "… is for steps that many rows share."):
        assert (note in " ".join(said.split())) == (width < 160)


def test_models_that_continue_texts_show_what_a_further_token_takes() -> None:
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES | {"token_latency_ms": 0.5})
    one = replace(trial(1), measurement=FIGURES | {"token_latency_ms": 0.25}, front=True)
    for sheet in (trial_sheet([baseline, one]), front_sheet(baseline, [one], one, "knee")):
        at = [column.name for column in sheet.columns].index("ms a token")
        assert [row[at] for row in sheet.rows] == ["0.50", "0.25"]
        assert sheet.columns[at - 1].name == "latency ms"
    assert "ms a token" not in [column.name for column in trial_sheet([trial(1)]).columns]


def test_at_the_end_the_front_shows_its_baseline_its_winner_and_intervals() -> None:
    scored = {"score": 0.8, "score_low": 0.79, "score_high": 0.81, "speedup_low": 1.95, "speedup_high": 2.05}
    baseline = Trial(BASELINE, "complete", Recipe(), measurement=FIGURES)
    front = [trial(1), replace(trial(4, keep=0.25), measurement=FIGURES | scored | {"size_mb": 10.0})]
    sheet = front_sheet(baseline, front, front[1], "knee")
    assert [row[0] for row in sheet.rows] == ["baseline", "t004 *", "t001"]
    assert sheet.rows[1][2:] == (
        "0.800", "114% (113-116)", "1.00", "2.00x (1.95-2.05)", "10.0", "2.00x"
    )  # fmt: skip
    assert sheet.styles == ["", "bold green", ""]
    assert sheet.notes[0] == "* chosen by knee. In brackets: 95 % intervals."


def test_trials_are_ordered_by_any_column_the_best_first() -> None:
    some = [trial(1, score=0.6), trial(2, score=0.7), Trial(3, "failed", Recipe(), seconds={"train": 9.0})]
    assert [t.number for t in ordered(some, "score")] == [2, 1, 3], "what has none comes last"
    assert [t.number for t in ordered(some, "latency ms")] == [1, 2, 3], "as the head of the column has it"
    assert [t.number for t in ordered(some, "seconds")] == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"--sort: there is no column 'sped'. Did you mean 'speedup'\?"):
        ordered(some, "sped")


def test_what_was_refused_says_why() -> None:
    refused = Trial(7, "refused", trial(7).recipe, reason="size_mb <= 10: 20, the limit is 10")
    assert refused_sheet([refused]).rows[0][2] == "size_mb <= 10: 20, the limit is 10"


def test_two_trials_are_compared_by_what_differs_and_by_what_is_beyond_noise() -> None:
    faster = {"latency_ms": 0.5, "latency_ms_low": 0.49, "latency_ms_high": 0.51}
    one, other = trial(1), replace(trial(2, 0.002), measurement=FIGURES | faster | {"size_mb": 30.0})
    sheet = comparison(one, other, (0.02, 0.02))
    rows = {str(row[0]): (row[1:], style) for row, style in zip(sheet.rows, sheet.styles, strict=True)}
    assert rows["finetune.lr"] == (("0.001", "0.002", ""), "yellow")
    assert rows["latency_ms"] == (("1", "0.5 (0.49-0.51)", "0.5x"), "green")
    assert rows["size_mb"] == (("20", "30", "1.5x"), "red")
    assert rows["score"] == (("0.700", "0.700", "+0.000 (-0.019 to +0.059)"), "")
    assert "latency_ms_low" not in rows
    assert "neurons.keep" not in rows
