"""`kill -9` of all processes of a search at once, or of each of its workers; then the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed import KILLED, UNLIMITED, check
from lives import Lives, strike_each

from autocompress.machine import fault_points
from autocompress.study import Study

pytestmark = pytest.mark.slow

# Where several write at the same time, in a worker and in the coordinator.
EVERYTHING = [
    "baseline:1", "asked:2", "rehearsed:2", "aside:2", "entry:4", "trained:1", "lowered:2", "evaluated:2", "told:2",
    "logged:1", "confirmed:1", "replayed:1",
]  # fmt: skip


def test_all_processes_killed_at_once(home: Path, lives: Lives) -> None:
    (home / "space.yaml").write_text(UNLIMITED.replace("trials: 4", "trials: 9"))
    for fatal in EVERYTHING:
        life = lives.live(home, f"{fatal}:all", workers=3)
        assert (life.exitcode, life.left) == (KILLED, []), f"{fatal}: it passed {life.passed}"
        point, count = fatal.split(":")
        assert life.passed[point] >= int(count)
    assert lives.live(home, workers=3).exitcode == 0
    check(Study.open("killed"), 9)


def test_three_workers_each_killed_while_it_measures_and_while_it_trains(home: Path, lives: Lives) -> None:
    (home / "space.yaml").write_text(UNLIMITED.replace("trials: 4", "trials: 8"))
    struck = list[int]()

    def strike(pid: int) -> None:
        struck.extend(strike_each(pid, home / "measures") + strike_each(pid, home / "trains"))

    life = lives.live(home, workers=3, meanwhile=strike, pause=0.2, spawned=True)
    assert len(set(struck)) == 6
    assert (life.exitcode, life.left) == (0, [])
    check(Study.open("killed"), 8)


def test_every_point_is_among_them() -> None:
    assert {passage.split(":")[0] for passage in EVERYTHING} == fault_points.POINTS.keys()
