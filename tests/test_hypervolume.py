"""The hypervolume against known volumes and against Optuna's."""

from __future__ import annotations

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from autocompress.engine.front.hypervolume import hypervolume


def test_known_volumes() -> None:
    assert hypervolume([], (1.0, 1.0, 1.0)) == 0
    assert hypervolume([(0.25,), (0.5,)], (1.0,)) == 0.75
    assert hypervolume([(0.0, 0.5), (0.5, 0.0)], (1.0, 1.0)) == 0.75
    assert hypervolume([(0.0, 0.0, 0.5), (0.5, 0.5, 0.0)], (1.0, 1.0, 1.0)) == 0.5 + 0.125
    assert hypervolume([(0.0, 0.0, 1.0), (2.0, 0.0, 0.0)], (1.0, 1.0, 1.0)) == 0, "what lies outside counts for nothing"
    assert hypervolume([(0.5, 0.5, 0.5)] * 3, (1.0, 1.0, 1.0)) == 0.125


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_equals_what_optuna_computes(objectives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random((40, objectives)).round(1 + seed % 2)  # rounded: coordinates tie, points repeat
    points = points[(points < 0.9).all(1)]
    reference = np.full(objectives, 0.9)
    ours = hypervolume([tuple(p) for p in points.tolist()], tuple(reference.tolist()))
    assert ours == pytest.approx(compute_hypervolume(points, reference), abs=1e-12)
