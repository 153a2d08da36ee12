from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import toy

from autocompress.machine import fingerprint
from autocompress.runtimes import latency
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch


class Clocked:
    """A session that moves a pretended clock by so many milliseconds a run."""

    def __init__(self, clock: list[float], milliseconds: Iterator[float]) -> None:
        self._clock, self._milliseconds = clock, milliseconds

    def run(self, batch: Batch) -> np.ndarray:
        self._clock[0] += next(self._milliseconds) / 1e3
        return batch["input_ids"].numpy()[:, :2].astype(np.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(latency.time, "thread_time", lambda: now[0])
    return now


def drifting(base: float, clock: list[float]) -> Iterator[float]:
    """Milliseconds on a machine that takes twice as long after two seconds, three times as long after four, ..."""
    while True:
        yield base * (1 + clock[0] / 2)


def test_drift_cancels_in_the_ratio(clock: list[float]) -> None:
    fast, slow = Clocked(clock, drifting(10.0, clock)), Clocked(clock, drifting(25.0, clock))
    found = latency.latency(fast, slow, toy().batch([0]), Target())
    assert found["speedup"] == pytest.approx(2.5, rel=0.01)
    assert found["speedup_low"] <= found["speedup"] <= found["speedup_high"]


def steady(milliseconds: float) -> Iterator[float]:
    return itertools.repeat(milliseconds)


def test_the_same_against_itself_is_one_to_within_what_two_sessions_of_a_file_differ_by(clock: list[float]) -> None:
    found = latency.latency(Clocked(clock, steady(10.0)), Clocked(clock, steady(10.0)), toy().batch([0]), Target())
    ends = [found[f"speedup{end}"] for end in ("_low", "", "_high")]
    assert ends == pytest.approx([1 - latency._REOPENED, 1.0, 1 + latency._REOPENED])


def test_the_runs_that_find_the_cache_full_of_the_others_weights_do_not_count(clock: list[float]) -> None:
    ran: list[Clocked] = []

    class Evicted(Clocked):
        def run(self, batch: Batch) -> np.ndarray:
            cold = not ran or ran[-1] is not self
            ran.append(self)
            clock[0] += 5e-3 if cold else 0.0
            return super().run(batch)

    small, large = Evicted(clock, steady(2.0)), Evicted(clock, steady(16.0))
    assert latency.latency(small, large, toy().batch([0]), Target())["speedup"] == pytest.approx(8.0)


def test_noise_is_met_with_more_runs(clock: list[float]) -> None:
    def noisy(spread: float) -> Iterator[float]:
        rng = np.random.default_rng(0)
        return (10.0 * (1 + spread * float(rng.random())) for _ in itertools.count())

    runs = []
    for spread in (0.01, 1.0):
        sessions = Clocked(clock, noisy(spread)), Clocked(clock, steady(10.0))
        runs.append(latency.latency(*sessions, toy().batch([0]), Target())["latency_runs"])
    assert runs[1] > 1.5 * runs[0]


def test_milliseconds_are_the_references_over_the_ratio() -> None:
    ratios = {"speedup": 2.0, "speedup_low": 1.6, "speedup_high": 2.5, "latency_tail": 1.5}
    found = latency.in_milliseconds(ratios, reference_ms=20.0)
    assert {k: v for k, v in found.items() if k.startswith("latency_ms")} == {
        "latency_ms": 10.0, "latency_ms_low": 8.0, "latency_ms_high": 12.5, "latency_ms_p95": 15.0
    }  # fmt: skip


def test_the_medians_interval_holds_the_median_and_shrinks_with_more_values() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.normal(5, 1, 20), rng.normal(5, 1, 2000)
    (low, high), (lower, higher) = latency.bootstrap_median(few), latency.bootstrap_median(many)
    assert low <= np.median(few) <= high
    assert lower < 5 < higher
    # the normal distribution's median has the standard error 1.2533 / sqrt(n)
    assert higher - lower == pytest.approx(2 * 1.96 * 1.2533 / np.sqrt(2000), rel=0.15)


def test_the_batch_that_is_timed_has_the_targets_shape() -> None:
    batch = latency.latency_batch(toy(), Target(batch_size=3, sequence_length=50))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 50)
    assert bool(batch["attention_mask"].all())


def test_logits_come_in_the_order_of_the_texts(clock: list[float]) -> None:
    session = Clocked(clock, drifting(1.0, clock))
    told = SimpleNamespace(answers=lambda logits, batch: logits.tolist())
    whole = latency.answers(session, told, toy(10), batch_size=4)
    assert whole == [[float(x) for x in row[:2]] for row in toy(10).fields["input_ids"]]


def test_zeros_show_in_the_archive_and_not_in_the_size(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(100_000))
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    assert latency.size_mb(tmp_path / "zeros") == latency.size_mb(tmp_path / "noise") == 0.1
    assert latency.archive_mb(tmp_path / "zeros") < 0.001 < 0.09 < latency.archive_mb(tmp_path / "noise")


def test_one_thread_is_timed_by_its_own_clock() -> None:
    assert latency.clock_for(Target(threads=1)) is latency.time.thread_time
    assert latency.clock_for(Target(threads=2)) is latency.time.perf_counter


def test_the_machine_says_what_it_is() -> None:
    assert set(fingerprint.machine()) == {"cpu", "arch", "system", "cores"}
    assert torch.get_num_threads() == 1, "conftest keeps tests on one thread"


def test_the_files_of_a_folder_are_weighed_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "one").write_bytes(bytes(1000))
    (tmp_path / "deep" / "er" / "two").write_bytes(bytes(3000))
    assert latency.size_mb(tmp_path) == 0.004
    assert 0 < latency.archive_mb(tmp_path) < 0.004
