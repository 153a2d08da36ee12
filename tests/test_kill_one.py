"""`kill -9` of a search with one worker at every named point; then the same command goes on, as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from killed import KILLED, THOROUGH, check
from lives import Lives
from tiny_project import make_project

from autocompress.engine.front.attribution import known
from autocompress.machine import fault_points
from autocompress.study import Study
from autocompress.trials.artefacts import trial_key

pytestmark = pytest.mark.slow

# The passages that end a life each; what a life passes depends on what those before it left to do.
ALONE = [
    "baseline:1", "entry:2", "rehearsed:1", "asked:1", "aside:1", "entry:2", "trained:1", "lowered:1", "evaluated:1",
    "logged:1", "told:1", "aside:2", "confirmed:1", "entry:2", "replayed:1",
]  # fmt: skip


def test_one_worker_killed_at_every_point_equals_uninterrupted(home: Path, lives: Lives) -> None:
    make_project(home / "undisturbed", THOROUGH)
    assert lives.live(home / "undisturbed").exitcode == 0
    make_project(home, THOROUGH)
    for fatal in ALONE:
        life = lives.live(home, fatal)
        assert (life.exitcode, life.left) == (KILLED, []), f"{fatal}: it passed {life.passed}"
    assert lives.live(home).exitcode == 0
    expected, study = Study(home / "undisturbed" / "studies" / "killed"), Study.open("killed")
    assert facts(study) == facts(expected)
    assert study.confirmed == expected.confirmed
    replays = [known(s.artefacts, s.best()) for s in (expected, study)]
    assert replays[0] == replays[1]
    assert replays[0].complete
    for member in expected.front:
        files = [s.folder / trial_key(member.number) / "artefact" / "model.onnx" for s in (expected, study)]
        assert files[0].read_bytes() == files[1].read_bytes()
    check(study, 4)


def facts(study: Study) -> list[Any]:
    """What must not depend on whether a search was interrupted."""
    return [
        (t.number, t.state, t.recipe, t.measurement, t.violations, t.front, t.reason, t.variant_of, t.rungs)
        for t in study.trials
    ]


def test_every_point_is_among_them() -> None:
    assert {passage.split(":")[0] for passage in ALONE} == fault_points.POINTS.keys()
