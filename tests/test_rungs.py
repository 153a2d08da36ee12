"""The rule by which trainings are stopped, on numbers that a person can check."""

from __future__ import annotations

import pytest

from autocompress import rungs

PEERS = {n: (-score, float(n)) for n, score in enumerate((0.9, 0.88, 0.86, 0.84, 0.82, 0.8), start=1)}  # error, size
# number 1 is best in both, so every one that follows is dominated by all before it


def test_fronts_are_ranked() -> None:
    costs = {1: (0.0, 3.0), 2: (3.0, 0.0), 3: (1.0, 3.0), 4: (3.0, 1.0), 5: (4.0, 4.0), 6: (0.0, 3.0)}
    assert rungs.ranked(costs) == {1: 0, 2: 0, 6: 0, 3: 1, 4: 1, 5: 2}


@pytest.mark.parametrize(
    ("score", "size", "lost_to"),
    [
        (0.91, 9.0, []),  # on the first front: nobody has its score
        (0.5, 0.5, []),  # nobody is as small
        (0.89, 1.5, []),  # one of six is better: tolerated
        (0.87, 2.5, []),  # two of six are a third: tolerated
        (0.85, 3.5, [1, 2, 3]),
        (0.5, 9.0, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_who_is_behind_more_than_a_third_of_its_peers_is_stopped(score: float, size: float, lost_to: list[int]) -> None:
    front = {1: PEERS[1]}
    assert rungs.losses((-score, size), PEERS, front) == lost_to


def test_few_peers_stop_nobody() -> None:
    few = {n: PEERS[n] for n in (1, 2, 3, 4)}
    assert rungs.losses((-0.1, 9.0), few, {1: PEERS[1]}) == []


def test_who_would_be_on_the_front_already_goes_on() -> None:
    """Its peers at the rung were faster learners, but what they ended as does not beat what it is already."""
    mine = (-0.85, 3.5)
    assert rungs.losses(mine, PEERS, front={9: (-0.84, 3.0), 8: (-0.95, 4.0)}) == []
    assert rungs.losses(mine, PEERS, front={9: (-0.86, 3.0)}) == [1, 2, 3]
    assert rungs.losses(mine, PEERS, front={}) == [1, 2, 3], "nothing to protect yet"


def test_the_allowance_is_what_the_luckiest_tenth_gained_beyond_the_usual() -> None:
    assert rungs.allowance([0.1, 0.1, 0.1, 0.1]) is None, "too few have finished"
    assert rungs.allowance([0.1] * 5) == pytest.approx(0.0)
    assert rungs.allowance([i / 100 for i in range(11)]) == pytest.approx(0.09 - 0.05)


@pytest.mark.parametrize(
    ("setting", "trials", "on"),
    [("auto", 19, False), ("auto", 20, True), ("stop", 2, True), ("watch", 2, True), ("none", 99, False)],
)
def test_when_there_are_rungs(setting: str, trials: int, on: bool) -> None:
    assert rungs.shares(setting, trials) == ((1 / 9, 1 / 3) if on else ())
