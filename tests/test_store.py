"""What the study relies on Optuna for, pinned: asking, adopting, telling, and sampling that survives a restart."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage

from autocompress.engine.optuna import samplers
from autocompress.engine.optuna.store import Store
from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import SearchSettings

OBJECTIVES = {"score": "maximize", "size_mb": "minimize"}


def sample(trial: Any) -> Recipe:
    keep = trial.suggest_float("0.layers.keep", 0.1, 0.9)
    lr = trial.suggest_float("1.finetune.lr", 1e-5, 1e-3, log=True)
    return Recipe([find("layers")(keep=keep), find("finetune")(lr=lr)])


def opened(folder: Path) -> Store:
    return Store(folder / "study.db", OBJECTIVES, SearchSettings(seed=3))


def outcome(trial: Trial, score: float, **violations: float) -> Trial:
    return replace(trial, state="complete", measurement={"score": score, "size_mb": 9.0}, violations=violations)


def search(store: Store, count: int) -> list[dict[str, Any]]:
    for _ in range(count):
        trial = store.ask(sample)
        store.tell(outcome(trial, -((trial.params["0.layers.keep"] - 0.4) ** 2), size=0.0))
    return [t.params for t in store.trials()]


SPACE = {
    "model": "m",
    "task": {"data": "d"},
    "steps": [
        {"one_of": ["skip", {"layers": {"keep": {"low": 0.2, "high": 0.8, "step": 0.1}, "strategy": "top"}}, "heads"]},
        {"one_of": ["skip", {"soft_labels": {"temperature": [1.0, 2.0], "weight": [0.5, 1.0]}}]},
        {"finetune": {"lr": [1e-5, 1e-4, 1e-3]}},
        {"one_of": ["skip", {"int8_dynamic": {"exclude": "none"}}]},
    ],
}


def conditional(sampler: str) -> SearchSpace:
    """A space with choices, knobs that only some recipes have, and for a grid an end."""
    steps = SPACE["steps"]
    if sampler == "grid":
        steps = [{"one_of": ["skip", *steps[0]["one_of"][1:2]]}, *steps[1:]]
    return SearchSpace.parse(SPACE | {"steps": steps, "search": {"sampler": sampler, "seed": 3}})


def judged(trial: Trial) -> Trial:
    """Some are refused for their size, the others complete, and which is better depends on every step."""
    knobs = {m.name: m.model_dump() for m in trial.recipe}
    keep = knobs["layers"]["keep"] if "layers" in knobs else 1.0
    size = keep * (0.3 if "int8_dynamic" in knobs else 1.0)
    violations = {"size_mb <= 0.9": size / 0.9 - 1}
    if size > 0.9:
        return replace(trial, state="refused", measurement={"size_mb": size}, violations=violations)
    score = keep - abs(knobs["finetune"]["lr"] - 1e-4) + 0.1 * ("soft_labels" in knobs)
    return replace(trial, state="complete", measurement={"score": score, "size_mb": size}, violations=violations)


def conditional_search(folder: Path, sampler: str, counts: list[int]) -> list[Trial]:
    """As many trials, the study opened anew for each count."""
    space = conditional(sampler)
    folder.mkdir(exist_ok=True)
    for count in counts:
        store = Store(folder / "study.db", OBJECTIVES, space.search, space.points())
        store.enqueue(space.locate(Recipe([find("finetune")(lr=1e-3)])))
        for _ in range(count):
            store.tell(judged(store.ask(space.sample)))
    return store.trials()


@pytest.mark.parametrize(
    ("sampler", "whole", "parts"),
    [
        ("tpe", [40], [5, 35]), ("nsgaii", [40], [5, 35]), ("random", [40], [5, 35]), ("grid", [40], [5, 35]),
        ("gp", [14], [5, 9]),  # a second a trial from the eleventh on
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_resumed_search_asks_what_an_uninterrupted_one_asks(
    sampler: str, whole: list[int], parts: list[int], tmp_path: Path
) -> None:
    """Optuna does not store a sampler's random state: every trial is seeded by its number."""
    trials = conditional_search(tmp_path / "whole", sampler, whole)
    assert conditional_search(tmp_path / "parts", sampler, parts) == trials
    assert {t.state for t in trials} == {"complete", "refused"}
    assert len({t.recipe.key for t in trials}) > 10


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 60), ("nsgaii", 60), ("gp", 22)])
@pytest.mark.slow
def test_a_sampler_learns_from_what_was_refused(sampler: str, count: int, tmp_path: Path) -> None:
    """NSGA-II and the Gaussian process would not by themselves: they look at complete trials only."""
    refused = {
        name: sum(t.state == "refused" for t in conditional_search(tmp_path / name, name, [count])[-10:])
        for name in ("random", sampler)
    }
    assert refused[sampler] < refused["random"]


def test_a_grid_gives_each_recipe_once(tmp_path: Path) -> None:
    space = conditional("grid")
    assert space.size == (1 + 7) * (1 + 4) * 3 * (1 + 2) == 360
    recipes = [space.replay(params).key for params in space.points()]
    assert len(recipes) == len(set(recipes)) == 360
    trials = conditional_search(tmp_path, "grid", [30])
    assert len({t.recipe.key for t in trials}) == 30
    other = SearchSpace.parse(space.dump() | {"search": {"sampler": "grid", "seed": 4}})
    assert next(other.points()) != next(space.points())


def test_a_grid_passes_over_what_cannot_work(tmp_path: Path) -> None:
    steps = [{"one_of": ["skip", "int8_dynamic"]}, {"one_of": ["skip", {"layers": {"keep": [0.25, 0.5]}}]}]
    space = SearchSpace.parse(SPACE | {"steps": steps, "search": {"sampler": "grid"}})
    assert space.size == 1 + 6 + 6, "layers after int8_dynamic cannot work"
    store = Store(None, OBJECTIVES, space.search, space.points())
    trials = [store.ask(space.sample) for _ in range(13)]
    assert len({t.recipe.key for t in trials}) == 13
    assert not any(t.recipe.fault() for t in trials)


def test_exploring_a_space_with_an_end_gives_what_was_not_tried() -> None:
    space = SearchSpace.parse(SPACE | {"steps": SPACE["steps"][1:]})
    assert space.size == (1 + 4) * 3 * (1 + 2) == 45
    store = Store(None, OBJECTIVES, space.search, space.points())
    assert len({store.ask(space.sample, explore=True).recipe.key for _ in range(45)}) == 45
    store.ask(space.sample, explore=True)  # nothing is left: a random draw
    endless = conditional("tpe")
    assert list(endless.points()) == []
    store = Store(None, OBJECTIVES, endless.search, endless.points())
    assert len({store.ask(endless.sample, explore=True).recipe.key for _ in range(9)}) > 5


def test_a_grid_needs_an_end() -> None:
    with pytest.raises(ConfigError) as found:
        SearchSpace.parse(SPACE | {"search": {"sampler": "grid"}})
    assert str(found.value) == (
        "steps.0.one_of.2: heads.keep has no end of values, so search.sampler may not be 'grid'. "
        "Give the knob a step, a list or one value."
    )


def test_tpe_proposes_what_that_of_optuna_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those under way count too: both are asked while the last two trials run."""
    space = conditional("tpe")

    def proposed() -> list[Trial]:
        store = Store(None, OBJECTIVES, space.search)
        trials = [store.ask(space.sample), store.ask(space.sample)]
        for number in range(40):
            trials.append(store.ask(space.sample))
            store.tell(judged(trials[number]))
        return trials

    ours = proposed()
    monkeypatch.setattr(samplers, "Tpe", TPESampler)
    assert proposed() == ours


@pytest.mark.parametrize(("private", "count"), [("sorting", 15), ("keeping", 4)])
def test_another_optuna_may_do_otherwise_what_is_private(
    private: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own sampler proposes the same, and this is said once."""
    space = conditional("tpe")

    def proposed() -> list[Trial]:
        store = Store(None, OBJECTIVES, space.search)
        for _ in range(count):
            store.tell(judged(store.ask(space.sample)))
        return store.trials()

    expected = proposed()
    if private == "sorting":
        monkeypatch.setattr(samplers.Tpe, "_drawn", missing)
    else:
        monkeypatch.setattr(samplers, "InMemoryStorage", lambda: RDBStorage("sqlite://"))
    samplers._warn_of_optuna.cache_clear()
    with pytest.warns(UserWarning, match="keeps its trials otherwise") as warned:
        found = proposed()
    assert len([w for w in warned if "keeps its trials otherwise" in str(w.message)]) == 1
    assert found == expected


def missing(*_: object) -> None:
    raise AttributeError("module 'optuna.samplers._tpe.sampler' has no attribute '_split_trials'")


def seen(store: Store) -> list[Any]:
    """What samplers are shown of each trial."""
    rows = [row.seen for row in store._mirror]
    return [(t.number, t._trial_id, t.state, t.params, t.distributions, t.values, t.constraints) for t in rows]


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
@pytest.mark.slow
def test_the_mirror_is_what_the_database_holds(sampler: str, tmp_path: Path) -> None:
    space = conditional(sampler)

    def fresh() -> Store:
        return Store(tmp_path / "study.db", OBJECTIVES, space.search)

    store = fresh()
    store.enqueue(space.locate(Recipe([find("finetune")(lr=1e-3)])))
    for number in range(15):
        trial = store.ask(space.sample, explore=number % 5 == 4)
        assert seen(store) == seen(fresh())
        if number % 4:
            store.tell(judged(trial))
            assert seen(store) == seen(fresh())
    assert [t.state for t in store.trials()].count("running") == 4


def test_what_another_process_wrote_is_seen_before_a_search_goes_on(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    trial = second.ask(sample)
    first.finish_told()
    second.tell(outcome(trial, 0.5))
    second.enqueue(anchor := {"0.layers.keep": 0.5, "1.finetune.lr": 1e-4})
    first.finish_told()
    assert first.trials() == [outcome(trial, 0.5)]
    assert (asked := first.ask(sample)).params == anchor
    assert second.trials()[1] == asked


def test_a_trial_that_the_caller_decided_waits_for_no_queue(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.enqueue(anchor := {"0.layers.keep": 0.5, "1.finetune.lr": 1e-4})
    variant = {"0.layers.keep": 0.25, "1.finetune.lr": 1e-3}
    asked = store.ask(sample, decided=variant)
    assert asked.params == variant
    assert opened(tmp_path).trials() == [asked]
    assert store.ask(sample).params == anchor


def test_a_trial_killed_while_it_was_sampled_leaves_nothing_and_is_asked_again(tmp_path: Path) -> None:
    def cut_off(trial: Any) -> Recipe:
        trial.suggest_float("0.layers.keep", 0.1, 0.9)
        raise KeyboardInterrupt

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path / "parts").ask(cut_off)
    assert opened(tmp_path / "parts").trials() == []
    assert opened(tmp_path / "parts").ask(sample) == opened(tmp_path / "whole").ask(sample)


def test_a_running_trial_is_told_by_another_process(tmp_path: Path) -> None:
    asked = opened(tmp_path).ask(sample)
    [left] = opened(tmp_path).trials()
    assert left == asked
    opened(tmp_path).tell(outcome(left, 0.5))
    assert [(t.state, t.recipe) for t in opened(tmp_path).trials()] == [("complete", asked.recipe)]


def test_what_was_told_survives_a_kill(tmp_path: Path) -> None:
    """The write-ahead log is still beside the database when a process is killed, and is read by the next one."""
    told = tmp_path / "told"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_store import opened, search
search(opened(Path({str(tmp_path)!r})), 3)
Path({str(told)!r}).touch()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert told.exists()
    assert (tmp_path / "study.db-wal").stat().st_size > 0
    assert [t.state for t in opened(tmp_path).trials()] == ["complete"] * 3


def test_another_process_reads_while_one_writes(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM trials").fetchone()  # a reader in the middle of its work
        search(writer, 1)
    assert [t.state for t in opened(tmp_path).trials()] == ["complete"]


def test_a_telling_that_is_cut_off_anywhere_is_as_if_it_had_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome, the constraints and the state are one transaction, and only then does the mirror move on."""
    store = opened(tmp_path)
    trial = store.ask(sample)
    for write in ("set_trial_user_attr", "set_trial_system_attr", "set_trial_state_values"):
        with monkeypatch.context() as patched:
            real = getattr(RDBStorage, write)

            def cut_off(*args: Any, real: Any = real, **more: Any) -> None:
                real(*args, **more)
                raise KeyboardInterrupt

            patched.setattr(RDBStorage, write, cut_off)
            with pytest.raises(KeyboardInterrupt):
                store.tell(outcome(trial, 0.7, size=-0.5))
        assert store.trials() == opened(tmp_path).trials() == [trial]
    store.tell(outcome(trial, 0.7, size=-0.5))
    assert store.trials() == opened(tmp_path).trials() == [outcome(trial, 0.7, size=-0.5)]


def test_an_outcome_that_an_older_version_wrote_but_did_not_tell_is_told(tmp_path: Path) -> None:
    trial = opened(tmp_path).ask(sample)
    study = optuna.load_study(study_name="autocompress", storage=f"sqlite:///{tmp_path / 'study.db'}")
    handle = optuna.Trial(study, study.get_trials()[0]._trial_id)
    known = {k: v for k, v in vars(outcome(trial, 0.7, size=-0.5)).items() if k in ("state", "measurement")}
    violations = {"size": -0.5}
    handle.set_user_attr("autocompress", json.dumps(known | {"violations": violations, "of_a_newer_version": 1}))
    handle.set_constraint("valid", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(tmp_path).finish_told()
    assert [t.values for t in study.get_trials()] == [[0.7, 9.0]]
    assert study.get_trials()[0].constraints == {"valid": 0.0, "size": -0.5}
    assert opened(tmp_path).trials() == [outcome(trial, 0.7, size=-0.5)]


def test_what_optuna_learns_of_each_outcome(tmp_path: Path) -> None:
    store = opened(tmp_path)
    trials = [store.ask(sample) for _ in range(5)]
    store.tell(outcome(trials[0], 0.7, size=-0.5))
    store.tell(replace(trials[1], state="refused", violations={"size": 0.25}, reason="too large"))
    store.tell(replace(trials[2], state="refused", reason="a method cannot act"))
    store.tell(replace(trials[3], state="failed", reason="out of memory"))
    store.tell(replace(outcome(trials[4], 0.7, size=-0.5), state="duplicate", duplicate_of=0))
    study = optuna.load_study(study_name="autocompress", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [(t.state.name, t.constraints) for t in study.trials] == [
        ("COMPLETE", {"valid": 0.0, "size": -0.5}),
        ("PRUNED", {"valid": 0.0, "size": 0.25}),
        ("PRUNED", {"valid": 1.0}),
        ("PRUNED", {"valid": 1.0}),
        ("COMPLETE", {"valid": 0.0, "size": -0.5}),
    ]
    kept = [(t.state, t.reason, t.duplicate_of) for t in opened(tmp_path).trials()]
    assert kept[1:] == [
        ("refused", "too large", None), ("refused", "a method cannot act", None),
        ("failed", "out of memory", None), ("duplicate", "", 0),
    ]  # fmt: skip


def test_anchors_come_first_and_once(tmp_path: Path) -> None:
    anchor = {"0.layers.keep": 0.5, "1.finetune.lr": 1e-4}
    for _ in range(2):
        store = opened(tmp_path)
        store.enqueue(anchor)
        assert store.trials() == [], "what waits in the queue is not a trial yet"
    assert store.ask(sample).params == anchor
    opened(tmp_path).enqueue(anchor)
    assert opened(tmp_path).ask(sample).params != anchor
