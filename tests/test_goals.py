"""Objectives, constraints, winners and relaxations: known answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.engine.front.relaxation import Admission, relaxation
from autocompress.engine.front.rules import RULES, ranked
from autocompress.errors import ConfigError
from autocompress.space.goals import DEFAULT_OBJECTIVES, QUANTITIES, Constraint, Goals, Measurement

BASELINE: Measurement = {"score": 0.9, "latency_ms": 20.0, "size_mb": 80.0, "parameters": 2e7, "speedup": 1.0}


def measured(score: float, latency_ms: float, size_mb: float) -> Measurement:
    return {"score": score, "latency_ms": latency_ms, "size_mb": size_mb}


def constraints(*texts: str) -> tuple[Constraint, ...]:
    return tuple(map(Constraint.parse, texts))


@pytest.mark.parametrize(
    ("text", "limit", "value", "violation"),
    [
        ("score >= 0.9 * baseline", 0.81, 0.81, 0.0),
        ("score >= 0.9 * baseline", 0.81, 0.405, 0.5),
        ("score>=0.8", 0.8, 0.88, -0.1),
        ("  latency_ms<=0.5*baseline ", 10.0, 11.0, 0.1),
        ("latency_ms <= 0.5 * baseline", 10.0, 9.0, -0.1),
        ("size_mb <= 40", 40.0, 60.0, 0.5),
        ("parameters <= 1e7", 1e7, 2e7, 1.0),
        ("speedup >= 4", 4.0, 3.0, 0.25),
    ],
)
def test_a_violation_is_the_share_of_the_limit(text: str, limit: float, value: float, violation: float) -> None:
    constraint = Constraint.parse(text)
    assert constraint.limit(BASELINE) == pytest.approx(limit)
    assert constraint.violation({constraint.quantity: value}, BASELINE) == pytest.approx(violation, abs=1e-12)
    assert (constraint.violation({constraint.quantity: value}, BASELINE) <= 0) == (violation <= 0)


def test_what_is_missed_by_a_rounding_error_is_met() -> None:
    """0.9 * 0.77 is 0.6930000000000001."""
    assert Constraint.parse("score >= 0.9 * baseline").violation({"score": 0.693}, {"score": 0.77}) == 0


def test_a_limit_of_zero_or_less_is_compared_by_the_plain_difference() -> None:
    """A useless baseline may have an mcc of 0 or below: there is no share of that."""
    useless = BASELINE | {"score": -0.1}
    constraint = Constraint.parse("score >= 0.9 * baseline")
    assert constraint.violation({"score": -0.2}, useless) == pytest.approx(0.11)
    assert constraint.violation({"score": 0.5}, useless) == pytest.approx(-0.59)
    assert Constraint.parse("score >= 0").violation({"score": -0.2}, BASELINE) == pytest.approx(0.2)


def test_a_limit_relative_to_a_baseline_of_nothing_is_refused_and_all_of_them_at_once() -> None:
    goals = Goals(DEFAULT_OBJECTIVES, constraints("score >= 0.9 * baseline", "training_seconds <= 0.5 * baseline"))
    goals.check_baseline({"score": 0.1, "training_seconds": 0.1})
    with pytest.raises(ConfigError) as error:
        goals.check_baseline({"score": -0.1, "training_seconds": 0.0})
    assert str(error.value).splitlines() == [
        "constraints: 'score >= 0.9 * baseline' must be relative to a baseline above 0. Got -0.1. "
        "Write a limit of its own, such as 'score >= 0.5', or leave it out.",
        "constraints: 'training_seconds <= 0.5 * baseline' must be relative to a baseline above 0. Got 0. "
        "Write a limit of its own, such as 'training_seconds <= 600', or leave it out.",
    ]
    Goals(DEFAULT_OBJECTIVES, constraints("score >= 0", "size_mb <= 5")).check_baseline({"score": 0.0, "size_mb": 1.0})


def test_the_worse_end_of_an_interval_is_compared() -> None:
    slower, faster = constraints("latency_ms <= 10", "speedup >= 2")
    assert slower.violation({"latency_ms": 9.0, "latency_ms_high": 11.0}, BASELINE) == pytest.approx(0.1)
    assert slower.violation({"latency_ms": 9.0}, BASELINE) == pytest.approx(-0.1)
    assert faster.violation({"speedup": 3.0, "speedup_low": 1.0}, BASELINE) == pytest.approx(0.5)


def test_violations_keep_the_order_of_the_constraints_and_leave_out_what_is_unknown() -> None:
    goals = Goals(DEFAULT_OBJECTIVES, constraints("size_mb <= 40", "score >= 0.9", "latency_ms <= 0.5*baseline"))
    rehearsed = {"latency_ms": 20.0, "size_mb": 20.0}
    assert goals.violations(rehearsed, BASELINE) == {"size_mb <= 40": -0.5, "latency_ms <= 0.5 * baseline": 1.0}
    every = goals.violations(rehearsed | {"score": 0.9}, BASELINE)
    assert list(every) == ["size_mb <= 40", "score >= 0.9", "latency_ms <= 0.5 * baseline"]
    assert [c.quantity for c in goals.before_training] == ["size_mb", "latency_ms"]


FORM = "a constraint reads 'score >= 0.98 * baseline' or 'size_mb <= 40'."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score > 0.9", f"{FORM} Got 'score > 0.9'."),
        ("size_mb <= 1.2.3", f"{FORM} Got 'size_mb <= 1.2.3'."),
        ("size_mb <= .", f"{FORM} Got 'size_mb <= .'."),
        (40, f"{FORM} Got 40."),
        ("latency <= 5", "there is no quantity 'latency'. Did you mean 'latency_ms'?"),
        ("joules <= 5", f"there is no quantity 'joules'. Quantities: {', '.join(QUANTITIES)}."),
        ("size_mb >= 5", "size_mb is limited from the other side: write 'size_mb <= 5'. Got 'size_mb >= 5'."),
        ("size_mb <= 0", "no model has size_mb of 0: give a limit above it. Got 'size_mb <= 0'."),
    ],
)  # fmt: skip
def test_a_wrong_constraint_is_refused(text: object, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        Constraint.parse(text)
    assert str(e.value) == message


@given(st.sampled_from(list(QUANTITIES)), st.floats(1e-3, 1e9), st.booleans())
def test_a_constraint_is_read_as_it_is_written(quantity: str, bound: float, relative: bool) -> None:
    text = Constraint(quantity, float(f"{bound:.12g}"), relative).text
    assert Constraint.parse(text).text == text


def test_rules_pick_by_name() -> None:
    front = {3: measured(0.9, 20, 30), 1: measured(0.85, 10, 20), 2: measured(0.6, 9, 21), 5: measured(0.5, 19, 10)}
    assert {rule: ranked(rule, front)[0] for rule in RULES} == {"best_score": 3, "fastest": 2, "smallest": 5, "knee": 1}


def test_the_knee_is_farthest_from_the_line_between_the_extremes() -> None:
    """Scores 1, .9, .2, 0 at 10, 4, 1, 0 ms scale to (1, 0), (.9, .6), (.2, .9), (0, 1): .5 and .1 beyond the line."""
    front = {i: measured(s, ms, 5) for i, (s, ms) in enumerate([(1.0, 10), (0.9, 4), (0.2, 1), (0.0, 0)])}
    assert ranked("knee", front)[0] == 1
    assert ranked("knee", front, ("latency_ms",))[0] == 3


def test_equal_ones_are_decided_by_the_other_quantities_then_by_number() -> None:
    assert ranked("best_score", {4: measured(0.9, 9, 9), 2: measured(0.9, 8, 9), 1: measured(0.9, 8, 9)})[0] == 1
    assert ranked("knee", {7: measured(0.9, 9, 9), 2: measured(0.9, 9, 9)})[0] == 2


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError) as e:
        ranked("fast", {1: measured(1, 1, 1)})
    assert str(e.value) == "there is no rule 'fast'. Did you mean 'fastest'?"


LIMITS = constraints("score >= 0.9 * baseline", "latency_ms <= 0.5 * baseline", "size_mb <= 40")


def test_a_relaxation_names_what_binds_and_what_would_admit_whom() -> None:
    found = relaxation(
        LIMITS,
        {
            1: measured(0.88, 11.0, 30),  # latency .1 over
            2: measured(0.88, 12.4, 30),  # latency .24 over
            3: measured(0.729, 9.0, 30),  # score .1 under
            4: {"latency_ms": 13.0, "size_mb": 30.0},  # refused in rehearsal: latency .3 over
        },
        BASELINE,
    )
    assert found is not None
    assert found.binding == LIMITS[1]
    assert found.nearest == pytest.approx({1: 0.1, 3: 0.1, 2: 0.24, 4: 0.3})
    assert list(found.nearest) == [1, 3, 2, 4]
    assert found.admissions == (
        Admission(constraints("latency_ms <= 0.55 * baseline"), (1,), certain=True),
        Admission(constraints("latency_ms <= 0.65 * baseline"), (1, 2, 4), certain=False),
    )
    assert found.sentences == [
        "The nearest recipe is t001: it breaks its limits by 10.0% in all.",
        "What binds is latency_ms <= 0.5 * baseline: 3 of the 4 nearest recipes break it.",
        "latency_ms <= 0.55 * baseline would admit t001.",
        "latency_ms <= 0.65 * baseline would admit t001, t002, t004, as far as a rehearsal can tell.",
    ]


def test_where_every_recipe_breaks_two_limits_both_are_loosened() -> None:
    found = relaxation(LIMITS, {1: measured(0.4, 15.0, 30), 2: measured(0.3, 15.0, 50)}, BASELINE)
    assert found is not None
    loosened = constraints("score >= 0.444 * baseline", "latency_ms <= 0.75 * baseline")
    assert found.admissions == (Admission(loosened, (1,), certain=True),)


def test_there_is_nothing_to_relax_where_a_recipe_is_feasible_or_none_was_measured() -> None:
    feasible, refused = measured(0.9, 5, 5), {"latency_ms": 19.0, "size_mb": 5.0}
    assert relaxation(LIMITS, {1: feasible, 2: refused}, BASELINE) is None
    assert relaxation(LIMITS, {}, BASELINE) is None


def test_a_stopped_recipe_that_breaks_nothing_known_does_not_count_as_feasible() -> None:
    found = relaxation(LIMITS, {1: {"latency_ms": 5.0, "size_mb": 5.0}, 2: measured(0.5, 5, 5)}, BASELINE)
    assert found is not None
    assert list(found.nearest) == [2]


@given(st.floats(0.01, 1.0), st.floats(0.1, 100), st.floats(0.1, 1000))
def test_what_a_relaxation_promises_holds(score: float, latency_ms: float, size_mb: float) -> None:
    measurement = measured(score, latency_ms, size_mb)
    found = relaxation(LIMITS, {1: measurement}, BASELINE)
    if found is None:
        assert all(v <= 0 for v in Goals(DEFAULT_OBJECTIVES, LIMITS).violations(measurement, BASELINE).values())
    else:
        assert found.nearest[1] > 0
        for constraint in found.admissions[0].constraints:
            assert (violation := constraint.violation(measurement, BASELINE)) is not None
            assert -0.02 < violation <= 0
