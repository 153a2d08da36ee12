"""What is known of the trials at one moment, taken in one by one, is what a look at all of them would give."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.engine.front.dominance import front
from autocompress.engine.progress import Progress
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals
from autocompress.space.recipe import Recipe

GOALS = Goals(DEFAULT_OBJECTIVES)
figure = st.integers(1, 4).map(float)


@st.composite
def trials(draw: st.DrawFn) -> list[Trial]:
    out = []
    for number in range(draw(st.integers(0, 12))):
        score, width = draw(figure) / 10, draw(st.sampled_from([0.0, 0.05]))
        measurement = {"score": score, "latency_ms": draw(figure), "size_mb": draw(figure)}
        measurement |= {"score_low": score - width, "score_high": score + width}
        recipe = Recipe.load([{"finetune": {"epochs": draw(st.integers(1, 3))}}, *draw(st.sampled_from([[], TAIL]))])
        state = draw(st.sampled_from(["complete", "failed", "running", "refused"]))
        variant = draw(st.sampled_from([None, 0])) if number else None
        out.append(
            Trial(number, state, recipe, measurement=measurement, variant_of=variant, seconds={"train": draw(figure)})
        )
    return out


TAIL = [{"int8_dynamic": {}}]


@given(trials())
@settings(max_examples=60, deadline=None)
def test_one_by_one_is_all_at_once(every: list[Trial]) -> None:
    table = TrialTable([], GOALS)
    for trial in every:
        table.keep(Trial(trial.number, "running", trial.recipe, variant_of=trial.variant_of))
        table.keep(trial)
    assert table.front == front({t.number: t.measurement for t in every if t.feasible}, GOALS)
    assert table.count("charged") == sum(t.charged for t in every)
    assert table.count("running") == sum(t.state == "running" for t in every)
    assert table.count("training") == sum(t.state == "running" and t.variant_of is None for t in every)
    assert table.evaluated() == [t for t in every if t.state in ("complete", "failed")]
    assert table.evaluated(latest=2) == table.evaluated()[-2:]
    assert table.training_seconds == sum(t.seconds["train"] for t in every)
    assert table.count("recipes") == len({t.recipe.key for t in every})
    for trial in every:
        before = [t for t in every if t.number < trial.number and t.recipe == trial.recipe]
        assert table.twin(trial) == (before[0] if before else None)
        assert table.trained_alike(trial) == [t for t in every if t.recipe.trained == trial.recipe.trained]
    assert {t.number for t in table.marked() if t.front} == table.front


def measured(score: float, latency_ms: float, size_mb: float, width: float = 0.0) -> dict[str, float]:
    ends = {"score_low": score - width, "score_high": score + width}
    return {"score": score, "latency_ms": latency_ms, "size_mb": size_mb} | ends


def test_the_front_goes_by_the_difference_on_the_same_texts() -> None:
    every = [
        Trial(0, "complete", Recipe(), measurement={"score": 0.7625, "latency_ms": 7.3, "size_mb": 27.7}),
        Trial(1, "complete", Recipe(), measurement={"score": 0.760, "latency_ms": 5.3, "size_mb": 20.2}),
    ]
    assert TrialTable(every, GOALS, lambda one, other: (0.0025 * (other - one), 0.01)).front == {1}
    assert TrialTable(every, GOALS, lambda one, other: (0.0025 * (other - one), 0.001)).front == {0, 1}


def test_progress_is_the_hypervolume_after_every_charged_trial() -> None:
    baseline = {"score": 0.9, "latency_ms": 10.0, "size_mb": 100.0}
    one = Recipe.load([{"finetune": {}}])

    def ended(number: int, seconds: float, state: str = "complete", **more: float) -> Trial:
        return Trial(number, state, one, measurement=measured(**more) if more else {}, ended=seconds)  # type: ignore[arg-type]

    points = Progress(GOALS, baseline).points(
        [
            ended(0, 5, score=0.8, latency_ms=5, size_mb=50),
            ended(1, 7, "refused"),
            ended(3, 20, score=0.8, latency_ms=5, size_mb=25),
            ended(2, 9, "failed"),
        ]
    )
    assert [(p.trials, p.seconds) for p in points] == [(1, 5), (2, 9), (3, 20)]
    assert [p.hypervolume for p in points] == pytest.approx([0.8 * 0.5 * 0.5] * 2 + [0.8 * 0.5 * 0.75])
