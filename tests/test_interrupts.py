"""Ctrl-C is raised where it comes, or where the search next comes by, and not in the middle of a database."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.engine.events import Observer
from autocompress.engine.optuna.database import Database
from autocompress.machine import interrupts
from autocompress.study import Study
from autocompress.tracking.sync import Tracker
from autocompress.trials.job import Job


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A shell's background jobs, and what `nohup` starts, begin with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class Losing(Observer):
    """Presses Ctrl-C at the second training step of a trial, where a library loses it."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self.steps += job.kind == "train"
        if self.steps == 2:
            try:
                ctrl_c()
            except KeyboardInterrupt:
                return


@pytest.mark.slow
def test_an_interrupt_that_a_library_loses_ends_the_search_at_the_next_step(project: Path) -> None:
    before, losing, study = signal.getsignal(signal.SIGINT), Losing(), Study.create(project)
    with pytest.raises(KeyboardInterrupt):
        study.run(observer=losing)
    assert losing.steps == 2
    assert [t.state for t in study.trials] == ["running"]
    assert signal.getsignal(signal.SIGINT) is before
    assert autocompress.search(project).charged() == 4, "nothing is remembered of it"


@pytest.mark.parametrize(("owner", "method"), [(Database, "finish"), (Tracker, "sync")])
def test_an_interrupt_waits_until_a_database_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    whole, written = getattr(owner, method).__wrapped__, list[bool]()

    @interrupts.waiting()
    def interrupted(*arguments: Any) -> Any:
        if not written:
            ctrl_c()
        done = whole(*arguments)
        written.append(True)
        return done

    monkeypatch.setattr(owner, method, interrupted)
    study = Study.create(project)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert written[0]
    assert len([t for t in study.trials if t.state != "running"]) == (owner is Database)


def test_who_presses_twice_does_not_wait() -> None:
    came = []

    def press_twice() -> None:
        with interrupts.waiting():
            ctrl_c()
            came.append("it waits")
            ctrl_c()
            came.append("never")

    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        press_twice()
    assert came == ["it waits"]


def test_an_interrupt_waits_for_the_outermost_of_several_writes() -> None:
    came = []

    def write() -> None:
        with interrupts.waiting():
            with interrupts.waiting():
                ctrl_c()
                came.append("inner")
            came.append("between")
        came.append("never")

    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        write()
    assert came == ["inner", "between"]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts.remembered():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            interrupts.check()
    finally:
        signal.signal(signal.SIGTERM, before)
