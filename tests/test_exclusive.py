from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autocompress.machine import exclusive


@pytest.fixture(autouse=True)
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(exclusive.tempfile, "gettempdir", lambda: str(tmp_path))


@contextmanager
def training(step_seconds: float = 0.02) -> Iterator[list[float]]:
    """Somebody trains all the while; the times at which steps ended."""
    ended: list[float] = []
    stop = threading.Event()

    def train() -> None:
        with exclusive.Floor() as floor:
            while not stop.is_set():
                time.sleep(step_seconds)
                ended.append(time.monotonic())
                floor.after_step(last=False)

    thread = threading.Thread(target=train)
    thread.start()
    while not ended:
        time.sleep(0.001)
    yield ended
    stop.set()
    thread.join()


def test_training_pauses_while_somebody_measures_and_goes_on_afterwards() -> None:
    with training() as a, training() as b:
        with exclusive.quiet():
            before = len(a), len(b)
            time.sleep(0.3)
            assert (len(a), len(b)) == before
        time.sleep(0.3)
        assert len(a) > before[0]
        assert len(b) > before[1]


def test_two_measurements_never_overlap() -> None:
    began = threading.Event()

    def measure() -> None:
        with exclusive.quiet():
            began.set()

    thread = threading.Thread(target=measure)
    with exclusive.quiet():
        thread.start()
        assert not began.wait(0.2)
    assert began.wait(5)
    thread.join()


def test_a_hung_step_does_not_hold_up_a_measurement_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_PATIENCE", 0.2)
    with exclusive.Floor() as floor:
        floor.after_step(last=False)  # the next step never ends
        start = time.monotonic()
        with exclusive.quiet():
            assert 0.2 <= time.monotonic() - start < 2


def test_a_stopped_measurement_does_not_hold_up_training_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_PATIENCE", 0.2)
    with exclusive.Floor() as floor, exclusive.quiet():
        start = time.monotonic()
        floor.after_step(last=False)
        assert 0.2 <= time.monotonic() - start < 2
        waited = time.monotonic()
        floor.after_step(last=False)
        assert time.monotonic() - waited < 0.2, "it is waited for once, not after every step"


def test_a_stopped_measurement_does_not_hold_up_the_next_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("_QUEUE", "_PATIENCE"):
        monkeypatch.setattr(exclusive, patience, 0.2)
    start = time.monotonic()
    with exclusive.quiet(), exclusive.quiet():
        assert 0.2 <= time.monotonic() - start < 2


def test_after_the_last_step_nothing_is_held() -> None:
    with exclusive.Floor() as floor:
        floor.after_step(last=False)
        floor.after_step(last=True)
        start = time.monotonic()
        with exclusive.quiet():
            assert time.monotonic() - start < 1


def test_the_locks_are_for_every_user_whatever_the_umask_of_the_first(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with exclusive.quiet():
            assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o666}
    finally:
        os.umask(before)


def test_who_may_not_open_the_locks_of_another_user_has_locks_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here root may open everything, so the lock is a link, which is not followed."""
    (tmp_path / "elsewhere").write_text("")
    for name in ("latency", "training"):
        (tmp_path / f"autocompress-{name}.lock").symlink_to(tmp_path / "elsewhere")
    with exclusive.quiet():
        own = [file.name for file in tmp_path.glob(f"*-{os.getuid()}.lock")]
        assert sorted(own) == [f"autocompress-{name}-{os.getuid()}.lock" for name in ("latency", "training")]
        monkeypatch.setattr(exclusive, "_PATIENCE", 0.1)
        monkeypatch.setattr(exclusive, "_QUEUE", 0.1)
        start = time.monotonic()
        with exclusive.quiet():
            assert time.monotonic() - start >= 0.1, "they lock as well"
