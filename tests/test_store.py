"""What the study relies on Optuna for, pinned: asking, adopting, telling, and sampling that survives a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from autocompress.ledger import Trial
from autocompress.method import find
from autocompress.recipe import Recipe
from autocompress.settings import SearchSettings
from autocompress.store import Store

OBJECTIVES = {"score": "maximize", "size_mb": "minimize"}


def sample(trial: Any) -> Recipe:
    keep = trial.suggest_float("0.layers.keep", 0.1, 0.9)
    lr = trial.suggest_float("1.finetune.lr", 1e-5, 1e-3, log=True)
    return Recipe([find("layers")(keep=keep), find("finetune")(lr=lr)])


def opened(folder: Path, sampler: Any = "tpe") -> Store:
    return Store(folder / "study.db", "s", OBJECTIVES, SearchSettings(seed=3, sampler=sampler))


def outcome(trial: Trial, score: float, **violations: float) -> Trial:
    return replace(trial, state="complete", measurement={"score": score, "size_mb": 9.0}, violations=violations)


def search(store: Store, count: int) -> list[dict[str, Any]]:
    for _ in range(count):
        trial = store.ask(sample)
        store.tell(outcome(trial, -((trial.params["0.layers.keep"] - 0.4) ** 2), size=0.0))
    return [t.params for t in store.trials()]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_resumed_search_asks_what_an_uninterrupted_one_asks(sampler: str, tmp_path: Path) -> None:
    """Optuna does not store a sampler's random state: every trial is seeded by its number."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = search(opened(tmp_path / "whole", sampler), 25)
    parts = [search(opened(tmp_path / "parts", sampler), count) for count in (3, 9, 13)][-1]
    assert parts == whole
    assert len({p["0.layers.keep"] for p in whole}) == 25


def test_a_running_trial_is_adopted_with_its_parameters(tmp_path: Path) -> None:
    asked = opened(tmp_path).ask(sample)
    adopted = opened(tmp_path).resume(asked.number, sample)
    assert adopted == asked
    opened(tmp_path).tell(outcome(adopted, 0.5))
    assert [t.state for t in opened(tmp_path).trials()] == ["complete"]


def test_a_trial_killed_while_it_was_sampled_keeps_what_was_sampled(tmp_path: Path) -> None:
    def cut_off(trial: Any) -> Recipe:
        trial.suggest_float("0.layers.keep", 0.1, 0.9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path).ask(cut_off)
    [left] = opened(tmp_path).trials()
    assert left.state == "running"
    resumed = opened(tmp_path).resume(0, sample)
    assert resumed.params["0.layers.keep"] == left.params["0.layers.keep"]
    assert set(resumed.params) == {"0.layers.keep", "1.finetune.lr"}


def test_an_outcome_that_was_written_but_not_told_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    trial = store.ask(sample)
    monkeypatch.setattr(optuna.Study, "tell", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.tell(outcome(trial, 0.7, size=-0.5))
    monkeypatch.undo()
    again = opened(tmp_path)
    again.finish_told()
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [t.values for t in study.trials] == [[0.7, 9.0]]
    assert study.trials[0].constraints == {"valid": 0.0, "size": -0.5}


def test_what_optuna_learns_of_each_outcome(tmp_path: Path) -> None:
    store = opened(tmp_path)
    trials = [store.ask(sample) for _ in range(5)]
    store.tell(outcome(trials[0], 0.7, size=-0.5))
    store.tell(replace(trials[1], state="refused", violations={"size": 0.25}, reason="too large"))
    store.tell(replace(trials[2], state="refused", reason="a method cannot act"))
    store.tell(replace(trials[3], state="failed", reason="out of memory"))
    store.tell(replace(outcome(trials[4], 0.7, size=-0.5), state="duplicate", duplicate_of=0))
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
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
        assert store.trials() == [], "waiting in the queue is not a trial yet"
    assert store.ask(sample).params == anchor
    opened(tmp_path).enqueue(anchor)
    assert opened(tmp_path).ask(sample).params != anchor
