"""What MLflow's pages show of a study, in a real browser on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from browser import Browser, found

from autocompress.engine.trial import Trial
from autocompress.space.axes import Axes
from autocompress.space.recipe import Recipe
from autocompress.space.recorded import traits
from autocompress.tracking.runs import StudyView
from autocompress.tracking.sync import Tracker
from autocompress.tracking.ui import server
from autocompress.trials.job import BASELINE

pytestmark = pytest.mark.skipif(found() is None, reason="needs a browser: install chromium")

STEPS = [
    {"one_of": ["skip", {"layers": {"keep": [0.5, 0.67], "strategy": "top"}}]},
    {"one_of": ["skip", {"soft_labels": {"temperature": 2.0, "weight": 1.0}}]},
    {"finetune": {"epochs": 2, "lr": {"low": 1e-4, "high": 1e-3, "log": True}}},
    {"one_of": ["skip", {"int8_dynamic": {"per_token": True}}, {"half": {"dtype": "float16"}}]},
]
VIEW = StudyView(
    id="5f0c8a",
    name="reviews",
    experiment="text-classification · reviews (9fe2c1) on onnxruntime cpu",
    description="**t003 layers+finetune** wins by knee.\n\n| trial | score |\n| --- | --- |\n| t003 | 0.84 |",
    axes=Axes(STEPS, traits()),
)


def trial(number: int) -> Trial:
    """One of eight that differ in everything that varies."""
    keep, lowered = (0.5, 0.67, None)[number % 3], ("int8_dynamic", "half", "skip")[number // 3]
    params = {"0": "layers", "0.layers.keep": keep} if keep else {"0": "skip"}
    params |= {"1": ("skip", "soft_labels")[number % 2], "2.finetune.lr": 1e-4 * (1 + number), "3": lowered}
    steps = [{"layers": {"keep": keep}}] if keep else []
    measured = {"score": 0.8 + number / 100, "latency_ms": 4.0 + number, "size_mb": 20.0 + number, "speedup": 2.0}
    return Trial(
        number, "complete", Recipe.load([*steps, {"finetune": {}}]), params, {**measured, "size_ratio": 3.0}, front=True
    )


class Pages(NamedTuple):
    """A server that holds a study of eight trials, and where its pages are."""

    table: str
    charts: str
    side_by_side: str
    study: str


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    uri = f"sqlite:///{tmp_path_factory.mktemp('pages')}/mlflow.db"
    tracker, trials = Tracker(uri, on_warning=pytest.fail), [trial(number) for number in range(8)]
    baseline = Trial(BASELINE, "complete", Recipe(), measurement={"score": 0.9, "latency_ms": 20.0, "size_mb": 90.0})
    assert tracker.sync(VIEW, [baseline, *trials])
    table, compared = tracker.page(VIEW), tracker.compare(VIEW, trials)
    study = f"{table.partition('?')[0]}/{tracker._opened(VIEW).held['study'].id}"
    with server(uri) as (_, address):
        yield Pages(*(f"{address}/{page}" for page in (table, *compared, study)))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def texts(browser: Browser, selector: str) -> list[str]:
    """What stands in the elements that CSS selects."""
    found = browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(each => each.textContent)")
    return [str(text) for text in found]


def in_order(browser: Browser, selector: str) -> list[str]:
    """The same from left to right, which is not the order in which a page may hold them."""
    place = "each.getBoundingClientRect().left"
    found = browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(each => [{place}, each.innerText])")
    return [text.strip() for _, text in sorted(found)]


def test_the_table_shows_what_decides_a_trial_and_what_it_measured(pages: Pages, browser: Browser) -> None:
    browser.open_until(
        pages.table, "['Tags', 'autocompress.state', '0.87'].every(t => document.body.innerText.includes(t))"
    )
    headed = in_order(browser, "[role=columnheader]")
    columns = [*dict.fromkeys(text for text in headed if text not in ("Metrics", "Parameters", "Tags"))]
    assert columns[columns.index("score") :][:11] == [
        "score", "latency_ms", "size_mb", "speedup", "size_ratio", "layers.keep", "soft_labels", "finetune.lr",
        "quantization", "autocompress.front", "autocompress.feasible",
    ]  # fmt: skip
    best = in_order(browser, "[role=row][row-index='1'] [role=gridcell]")  # the baseline scores more
    assert best[best.index("0.87") :][:10] == ["0.87", "11", "27", "2", "3", "0.67", "yes", "0.0008", "none", "true"]


def test_the_charts_compare_eight_trials_on_the_axes_that_matter(pages: Pages, browser: Browser) -> None:
    browser.open_until(
        pages.charts, "document.querySelectorAll('.dimension').length && document.querySelector('.scatterlayer')"
    )
    axes = texts(browser, ".dimension")
    names = ["layers.keep", "soft_labels", "finetune.lr", "quantization", "latency_ms", "size_mb", "score"]
    assert [axis[-len(name) :] for axis, name in zip(axes, names, strict=True)] == names
    assert axes[0] == "0.50.60.70.80.91.0layers.keep"  # numbers: a recipe that keeps all its layers is at 1
    assert axes[3] == "noneint8_dynamichalfquantization"


def test_trials_side_by_side_open_on_named_axes_and_the_score(pages: Pages, browser: Browser) -> None:
    browser.open_until(pages.side_by_side, "document.querySelectorAll('.axis-title').length == 4")
    assert texts(browser, ".axis-title") == ["finetune.lr", "layers.keep", "quantization", "score"]
    shown = browser.evaluate("document.body.innerText")
    assert "Comparing 9 Runs from 1 Experiment" in shown
    assert "unknown" not in shown


def test_the_study_tells_its_winner_and_its_front(pages: Pages, browser: Browser) -> None:
    browser.open_until(pages.study, "document.body.innerText.includes('wins by knee')")
    assert texts(browser, "td") == ["t003", "0.84"]  # markdown that is rendered, not a table in ASCII
