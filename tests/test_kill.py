"""`kill -9` with three workers, of the process that passes a named point; then the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed import KILLED, UNLIMITED, check
from lives import Lives

import autocompress
from autocompress.machine import fault_points
from autocompress.study import Study

pytestmark = pytest.mark.slow

# The coordinator's last passage ends each life; before it, workers die of the others, each at another kind of job,
# because a second death of a job's worker would be taken for the recipe's fault.
ONE_BY_ONE = [
    "baseline:1,rehearsed:1,asked:4",
    "aside:2,lowered:1,told:4",
    "entry:3,logged:3",
    "trained:1,evaluated:1,confirmed:1",
    "replayed:1",
]


def test_three_workers_killed_at_every_point(home: Path, lives: Lives) -> None:
    (home / "space.yaml").write_text(UNLIMITED.replace("trials: 4", "trials: 9"))
    for fatal in ONE_BY_ONE:
        life = lives.live(home, fatal, workers=3)
        assert (life.exitcode, life.left) == (KILLED, []), f"{fatal}: it passed {life.passed}"
        for point, count in (passage.split(":") for passage in fatal.split(",")):
            assert life.passed[point] >= int(count)
    assert lives.live(home, workers=3).exitcode == 0
    check(Study.open("killed"), 9)


def test_every_point_is_named_where_it_is_passed_and_all_are_tested() -> None:
    sources = "".join(file.read_text() for file in Path(autocompress.__file__).parent.rglob("*.py"))
    assert all(f'fault_points.point("{name}")' in sources for name in fault_points.POINTS)
    assert sources.count("fault_points.point(") == len(fault_points.POINTS)
    one_by_one = {passage.split(":")[0] for life in ONE_BY_ONE for passage in life.split(",")}
    assert one_by_one == fault_points.POINTS.keys()
