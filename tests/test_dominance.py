"""Who beats whom beyond noise, and the front that follows: known answers and what must always hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.engine.front.dominance import Front, front
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals, Measurement

GOALS = Goals(DEFAULT_OBJECTIVES)
ERROR = 0.01  # of every difference between two scores


def measured(score: float, latency_ms: float, size_mb: float, spread: float = 0.02) -> Measurement:
    ends = {"latency_ms_low": latency_ms * (1 - spread), "latency_ms_high": latency_ms * (1 + spread)}
    return {"score": score, "latency_ms": latency_ms, "size_mb": size_mb} | ends


def found(every: dict[int, Measurement], error: float = ERROR) -> Front:
    out = Front(GOALS, lambda one, other: (every[one]["score"] - every[other]["score"], error))
    for number, measurement in every.items():
        out.add(number, measurement)
    return out


def test_one_text_of_400_does_not_keep_a_slower_and_larger_model_on_the_front() -> None:
    """t017, t016 and t008 of the README of version 0.1."""
    every = {17: measured(0.7625, 7.30, 27.7), 16: measured(0.760, 5.27, 20.2), 8: measured(0.723, 3.22, 17.7)}
    assert found(every).beats(16, 17)
    assert found(every).numbers == {16, 8}


@pytest.mark.parametrize(
    ("other", "beaten"),
    [
        (measured(0.795, 5.0, 20.0), False),  # a score within the error, all else is equal
        (measured(0.78, 5.0, 20.0), True),
        (measured(0.80, 5.1, 20.0), False),  # intervals overlap
        (measured(0.80, 5.5, 20.0), True),
        (measured(0.80, 5.0, 20.000001), False),  # one byte
        (measured(0.80, 5.0, 20.1), False),
        (measured(0.80, 5.0, 20.5), True),
        (measured(0.805, 5.1, 20.5), True),  # better within noise, worse beyond it
        (measured(0.82, 5.5, 20.5), False),  # better beyond noise
        (measured(0.78, 5.5, 19.5), False),
    ],
)
def test_beaten_is_worse_beyond_noise_somewhere_and_better_beyond_noise_nowhere(
    other: Measurement, beaten: bool
) -> None:
    front = found({1: measured(0.80, 5.0, 20.0), 2: other})
    assert front.beats(1, 2) == beaten
    assert (2 not in front.numbers) == beaten


def test_without_answers_the_intervals_of_the_scores_say_what_noise_is() -> None:
    def scored(score: float, half: float = 0.0) -> Measurement:
        return measured(score, 5, 20) | {"score_low": score - half, "score_high": score + half}

    assert front({1: scored(0.80), 2: scored(0.79)}, GOALS) == {1}
    assert front({1: scored(0.80, 0.0196), 2: scored(0.79, 0.0196)}, GOALS) == {1, 2}, "the error is 0.014"
    assert front({1: scored(0.80, 0.0196), 2: scored(0.78, 0.0196)}, GOALS) == {1}


def test_steps_within_noise_do_not_add_up_to_a_loss_beyond_it() -> None:
    """Each of them beats the next: the last is off the front only if the first beats it too."""
    every = {n: measured(0.70 + 0.008 * n, 3.0 + n, 20) for n in range(3)}
    front = found(every)
    assert all(front.beats(one, other) for one, other in pairwise(every))
    assert not front.beats(0, 2)
    assert front.numbers == {0, 2}


def test_a_circle_has_a_front() -> None:
    """1 is faster than 2, 2 smaller than 3, 3 scores better than 1, and all else is a tie."""
    every = {1: measured(0.75, 10.0, 20.1), 2: measured(0.759, 10.8, 20.0), 3: measured(0.768, 10.4, 20.25)}
    front = found(every)
    assert front.beats(1, 2)
    assert not front.beats(2, 3), "it is worse on the whole"
    assert not front.beats(3, 1)
    assert front.numbers == {1, 3}


points = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=10)


@given(points, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_what_is_off_the_front_is_beaten_by_one_on_it_in_whatever_order_they_came(
    drawn: list[tuple[int, int, int]], random: st.random.Random
) -> None:
    every = {n: measured(0.7 + 0.007 * s, 5 + 0.15 * t, 20 + 0.12 * b) for n, (s, t, b) in enumerate(drawn)}
    front = found(every)
    assert front.numbers
    assert not any(front.beats(one, other) for one in front.numbers for other in front.numbers)
    for number in every.keys() - front.numbers:
        assert any(front.beats(better, number) for better in front.numbers)
    shuffled = list(every)
    random.shuffle(shuffled)
    again = found({})
    again._difference = front._difference
    for count, n in enumerate(shuffled, start=1):
        again.add(n, every[n])
        assert again.numbers == found({n: every[n] for n in shuffled[:count]}).numbers, "looked at after each"
    assert again.numbers == front.numbers


def test_any_objectives_span_a_front() -> None:
    goals = Goals({"speedup": "maximize", "parameters": "minimize"})
    fast = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1, "parameters": 1e6}
    every = {1: fast, 2: fast | {"parameters": 2e6}, 3: fast | {"speedup": 2.5, "speedup_low": 2.3, "parameters": 3e6}}
    assert front(every, goals) == {1, 3}
    assert front({}, goals) == set()
