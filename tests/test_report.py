"""The report of a real search on a tiny project: what is in it, that it is measured once, how browsers show it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import browser
import pytest
from commands import run_here
from conftest import ATTRIBUTE, compute_latency, reporting
from mlflow import MlflowClient
from tiny_project import SPACE, make_project

from autocompress.engine.budget import Budget
from autocompress.engine.events import Observer
from autocompress.engine.front import attribution
from autocompress.engine.optuna.importance import shares
from autocompress.engine.run import SearchLimits
from autocompress.engine.scheduler import drive
from autocompress.errors import ConfigError
from autocompress.report.figures.front import front
from autocompress.report.figures.plots import PlottedStudy
from autocompress.report.findings import axes, course, knobs, worth
from autocompress.report.findings.gather import gather
from autocompress.report.page import page, sections
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.executors.executor import Executor
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.job import Failure, Job, Result

pytestmark = pytest.mark.slow

CONFIRMED = SPACE.replace(
    "trials: 4, variants: 0, confirm: {top: 0}", "trials: 10, variants: 0, confirm: {top: 1, seeds: 2}"
)
PICTURES = {"front.png", "progress.png", "importance.png", "attribution.png"}


class Watcher(Observer):
    """Keeps where the report is said to be, and which steps were replayed."""

    def __init__(self) -> None:
        self.places: list[Path] = []
        self.replays: list[str] = []
        self.notes: list[str] = []

    def reported(self, place: Path) -> None:
        self.places.append(place)

    def replayed(self, trial: object, steps: Recipe, reason: str) -> None:
        self.replays.append(reason or steps.title)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[tuple[Study, Watcher]]:
    """A search as a person runs it, with its report."""
    folder, watcher = tmp_path_factory.mktemp("report"), Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        compute_latency(patch)
        reporting(patch)
        study = Study.create(make_project(folder, CONFIRMED))
        study.run(observer=watcher)
        yield study, watcher
    work.loaded.cache_clear()


def test_a_search_writes_its_report_and_says_where(searched: tuple[Study, Watcher], mlflow_uri: str) -> None:
    study, watcher = searched
    assert watcher.places == [study.folder / "report" / "report.html"]
    assert {file.name for file in (study.folder / "report").iterdir()} == PICTURES | {"report.html"}
    assert not [note for note in watcher.notes if "report" in note]
    client = MlflowClient(mlflow_uri)
    ours = f"tags.`autocompress.study_id` = '{study.record['id']}' and tags.`autocompress.kind` = 'study'"
    [run] = client.search_runs([e.experiment_id for e in client.search_experiments()], ours)
    assert {Path(f.path).name for f in client.list_artifacts(run.info.run_id, "report")} == PICTURES | {"report.html"}
    with pytest.MonkeyPatch.context() as patch:
        log, folders = MlflowClient.log_artifacts, list[tuple[str, ...]]()
        patch.setattr(MlflowClient, "log_artifacts", lambda *asked: folders.append(asked[3:]) or log(*asked))
        study.sync()
    assert ("report",) not in folders, "it is there already"
    text = watcher.places[0].read_text()
    assert len(text) < 6e6
    shown = re.sub(r"<script>.*?</script>", "", text, flags=re.S)  # what it shows itself
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"' >]+""", shown), "nothing is fetched"
    for said in (
        "The front",
        "step by step",
        "Finalists, confirmed",
        "steps:\n",
        "What decides",
        "Where the time went",
    ):
        assert said in shown, said


def test_every_step_of_the_winner_is_measured_once(searched: tuple[Study, Watcher], tmp_path: Path) -> None:
    study, watcher = searched
    winner = study.best()
    replay = attribution.known(study.artefacts, winner)
    assert replay.complete
    assert [name for step in replay.steps for name in step.added] == [method.name for method in winner.recipe]
    assert replay.steps[-1].measurement == winner.measurement
    assert len(watcher.replays) == len(replay.steps) - 1
    assert all(step.measurement.keys() >= {"score", "score_low", "latency_ms", "size_mb"} for step in replay.steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InlineExecutor, "submit", lambda *asked: pytest.fail("measured again"))
        assert study.report(tmp_path / "again") == tmp_path / "again" / "report.html"


def test_what_waits_for_a_training_is_replayed_with_it() -> None:
    steps = [{"layers": {"keep": 0.5}}, {"soft_labels": {}}, {"finetune": {}}, {"int8_dynamic": {}}]
    assert attribution.cuts(Recipe.load(steps)) == [1, 3, 4]
    assert attribution.cuts(Recipe.load(steps[2:3])) == [1]


class Scripted(Executor):
    """Answers with the same result to all."""

    workers = 1

    def __init__(self, result: Result) -> None:
        self.result, self.count = result, 0

    def submit(self, job: Job) -> Future[Result]:
        assert job.kind == "replay"
        self.count += 1
        future: Future[Result] = Future()
        future.set_result(self.result)
        return future


@pytest.mark.parametrize(
    ("result", "reason", "complete"),
    [
        (Result(failure=Failure("no such kernel", expected=True)), "no such kernel", True),
        (Result(failure=Failure("ended after 1 s, the limit of --trial-timeout", True, limited=True)), "", False),
        (Result(failure=Failure("a bug", expected=False)), "", False),
        (Result(trained=False), "", False),
    ],
    ids=["of the recipe", "of --trial-timeout", "of the program", "the time is up"],
)
def test_only_a_failure_of_the_recipe_itself_is_remembered(
    searched: tuple[Study, Watcher], tmp_path: Path, result: Result, reason: str, complete: bool
) -> None:
    study = searched[0]
    trial = replace(study.best(), recipe=Recipe.load([{"layers": {}}, {"finetune": {}}]))
    data = replace(study.data, artefacts=str(tmp_path))
    drive(attribution.lives(data, trial, Observer()), Scripted(result))
    found = attribution.known(attribution.find(str(tmp_path)), trial)
    assert [step.reason for step in found.steps] == [reason, ""]
    assert found.complete is complete


def test_a_step_is_begun_only_while_there_is_time(searched: tuple[Study, Watcher]) -> None:
    study, asked, limits = (
        searched[0],
        Scripted(Result(failure=Failure("no", expected=False))),
        SearchLimits(attributes=True),
    )
    known = study.artefacts.read("attribution.json") or ""
    study.artefacts.write("attribution.json", "{}")
    for deadline, begun in (
        (-math.inf, 0),
        (math.inf, len(attribution.known(study.artefacts, study.best()).steps) - 1),
    ):
        ATTRIBUTE(study, limits, Budget(1, deadline), asked, Observer())
        assert asked.count == begun
    study.artefacts.write("attribution.json", known)


def test_mlflow_that_does_not_answer_is_said_once(
    searched: tuple[Study, Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    study, said = searched[0], list[str]()
    log = study.log(said.append)
    monkeypatch.setattr("autocompress.tracking.observer.upload", Mock(side_effect=ConnectionError("refused")))
    log.keep(study.folder / "report")
    assert said == [], "it was not reached before either: the next sync logs the report"
    log.sync(study.trials, "FINISHED")
    log.keep(study.folder / "report")
    [sentence] = said
    assert sentence.endswith("does not answer (refused): `autocompress sync space` will log the report")


def test_a_search_that_found_nothing_has_a_report_too(searched: tuple[Study, Watcher], tmp_path: Path) -> None:
    found = gather(searched[0])
    trials = [replace(t, front=False, violations={"size_mb <= 1": 0.5}) for t in found.trials]
    none = replace(
        found, trials=tuple(trials), winner=None, finalists=(), replay=None, advice="no recipe meets it.\nDo."
    )
    page.write(none, tmp_path)
    text = re.sub(r"<script.*?</script>", "", (tmp_path / "report.html").read_text(), flags=re.S)
    assert "<p>no recipe meets it.</p>\n<p>Do.</p>" in text
    assert 'id="recipe"' not in text


def test_a_study_draws_itself(searched: tuple[Study, Watcher]) -> None:
    study = searched[0]
    front = study.plot_front()
    names = [trace.name for trace in front.data if trace.name]
    assert names[-2:] == ["baseline", "chosen"]
    assert len(front.layout.shapes) == 1, "of the two limits one is on the score, the other on the size"
    best = study.best()
    confirmed = gather(study).latest(best).measurement
    [star] = [trace for trace in front.data if trace.name == "chosen"]
    assert (star.x[0], star.y[0]) == (confirmed["latency_ms"], confirmed["score"])
    assert all(f"<br>{method.name}" in star.text[0] for method in best.recipe)
    assert len(study.plot_front("size_mb", "score", None).layout.shapes) == 2
    every = (
        study.plot_parallel(), study.plot_importance(), study.plot_methods(), study.plot_progress("seconds"),
        study.plot_time(), study.plot_fates(), study.plot_finalists(), study.plot_attribution(),
    )  # fmt: skip
    assert all(len(figure.data) for figure in every)


def test_the_findings_add_up(searched: tuple[Study, Watcher]) -> None:
    study = searched[0]
    found = gather(study)
    assert len(found.measured) >= 10
    for objective in ("score", "size_mb"):
        assert sum(found.importances[objective].values()) == pytest.approx(1)
    assert found.importances["latency_ms"] == {}, "it is computed, and the same for all"
    assert not {name for name in found.importances["size_mb"] if name.startswith(("finetune", "soft_labels"))}
    assert found.importances.keys() == {"score", "latency_ms", "size_mb"}
    [effect] = [e for e in worth.effects(found) if (e.method, e.objective) == ("int8_dynamic", "size_mb")]
    assert effect.with_it < effect.without
    assert sum(effect.counts) == len(found.measured)
    assert course.best_scores(found)[-1].score == max(t.measurement["score"] for t in study.trials if t.feasible)
    assert sum(course.spent(found).values()) > sum(t.seconds["train"] for t in found.measured)
    refused = [t for t in study.trials if t.state == "refused"]
    assert refused
    assert course.saved(found)["refused before training"] > 0
    counted = course.fates(found)
    assert counted["refused: size_mb <= 0.95 * baseline"] == len(refused)
    assert counted["on the front"] == len(study.front)

    for axis in axes.axes(found):
        assert len(axis.places) == len(found.measured)
        assert all(0 <= place <= 1 for place in axis.places)


def test_the_front_shows_what_is_known_of_a_confirmed_model(searched: tuple[Study, Watcher]) -> None:
    """As the terminal does: the mean of its seeds, and the latency of a process of its own."""
    found = gather(searched[0])
    winner = found.winner
    assert winner
    known = found.known[winner.number]
    assert "seeds" in known
    [shown] = [t for t in found.front if t.number == winner.number]
    assert shown.measurement == known
    [star] = [trace for trace in front(found).data if trace.name == "chosen"]
    assert (*star.x, *star.y) == (known["latency_ms"], known["score"])
    page = sections.the_front(found)
    assert f"Means over several seeds: the scores of t{winner.number:03d}." in page


def test_what_is_far_over_a_limit_does_not_press_the_others_together(searched: tuple[Study, Watcher]) -> None:
    found = gather(searched[0])
    assert front(found).layout.xaxis.range is None
    slow, *others = found.measured
    figures = dict(slow.measurement) | {"latency_ms": 1e6}
    slow = replace(slow, front=False, violations={"latency_ms <= 1": 99.0}, measurement=figures)
    figure = front(replace(found, trials=(slow, *others)))
    assert figure.layout.xaxis.range[1] < 1.2 * max(t.measurement["latency_ms"] for t in [found.baseline, *others])
    assert figure.layout.annotations[-1].text.startswith("1 over a limit further right, up to 1e+06:")


def test_what_the_docs_say_of_it_runs(searched: tuple[Study, Watcher]) -> None:
    folder, text = searched[0].folder.parent.parent, (Path(__file__).parent.parent / "docs" / "report.md").read_text()
    [commands] = re.findall(r"^```shell\n(.*?)^```$", text, flags=re.M | re.S)
    for line in commands.splitlines():
        done = run_here(folder, *shlex.split(line, comments=True)[1:])
        assert (done.returncode, done.stderr) == (0, ""), line
    [block] = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
    exec(block, {})
    assert all(f"`{name}" in text or f".{name}" in text for name in vars(PlottedStudy) if name.startswith("plot_"))


def test_recipes_as_a_table_hold_what_differs() -> None:
    one, other = [{"layers": {"keep": 0.5}}, {"finetune": {"lr": 1e-3}}], [{"finetune": {"lr": 1e-4}}]
    assert knobs.varied(map(Recipe.load, (one, other))) == [
        {"layers": True, "finetune.lr": 1e-3}, {"layers": False, "finetune.lr": 1e-4}
    ]  # fmt: skip
    twice = Recipe.load([*other, *other])
    assert [name for name, _ in knobs.named(twice)] == ["finetune", "finetune 2"]


def test_what_decides_has_the_largest_share() -> None:
    rows = [{"int8": i % 2 == 0, "lr": float((i * 7) % 40)} for i in range(40)]
    rows = [row | {"bits": float(i % 3)} if row["int8"] else row for i, row in enumerate(rows)]
    found = shares(rows, [0.0 if row["int8"] else 1.0 for row in rows])
    assert found["int8"] > 0.5 > found["lr"] + found["bits"]
    assert shares(rows, [1.0] * 40) == {}, "nothing decides"


def test_a_wrong_name_and_a_study_without_a_baseline_are_one_sentence(searched: tuple[Study, Watcher]) -> None:
    folder = searched[0].folder.parent.parent
    done = run_here(folder, "report", "spaec")
    assert (done.returncode, done.stderr) == (2, "there is no study 'spaec' in studies/. Did you mean 'space'?\n")
    (folder / "new.yaml").write_text(CONFIRMED)
    study = Study.create(folder / "new.yaml")
    said = (
        "the study 'new' has nothing to report yet: its baseline was not measured. "
        "Go on with it: autocompress resume new"
    )
    for ask in (study.report, study.plot_front):
        with pytest.raises(ConfigError) as error:
            ask()
        assert str(error.value) == said
    with pytest.raises(ConfigError) as error:
        searched[0].report(folder / "space.yaml")
    assert str(error.value) == f"--to: should be a folder. Got the file {str(folder / 'space.yaml')!r}."


_ASKED = """(() => {
  const within = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".wide, .table, pre, svg"));
  return {
    page: document.documentElement.scrollWidth,
    figures: document.querySelectorAll(".js-plotly-plot .main-svg").length,
    empty: [...document.querySelectorAll(".js-plotly-plot")].filter((f) => f.clientHeight < 50).length,
    outside: within.filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 99)),
  };
})()"""


@pytest.mark.skipif(browser.found() is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_it_on_a_desk_on_a_phone_and_on_paper(
    searched: tuple[Study, Watcher], tmp_path: Path
) -> None:  # fmt: skip
    address = searched[1].places[0].as_uri()
    with browser.Browser(tmp_path / "profile") as chromium:
        for width, touch in ((1200, False), (390, True)):
            chromium.open(address, width, touch=touch)
            found = chromium.evaluate(_ASKED)
            assert found["figures"] >= 12
            assert found["empty"] == 0
            assert (found["page"] <= width, found["outside"]) == (True, []), "nothing is cut or scrolled sideways"
        chromium.evaluate("document.querySelector('.code button').click()")
        said = chromium.evaluate("new Promise((done) => setTimeout(() => "
                                 "done(document.querySelector('.code button').textContent), 300))")  # fmt: skip
        assert said in ("Copied", "Selected")
        chromium.print(tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
        assert chromium.said == []
