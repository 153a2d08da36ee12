"""A compressed model is hardly ever better than a well trained one: where it is, limits relative to it are too easy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autocompress.engine.trial import Trial
from autocompress.space.goals import Goals, Measurement


def sentence(
    trials: Iterable[Trial], confirmed: Mapping[int, Measurement], baseline: Measurement, goals: Goals, advice: str
) -> str:
    """By how much, and what to write instead; nothing if no trial is better than the baseline beyond noise.

    `confirmed`: the scores of trials over several seeds, which count instead of the search's. `advice`: how the
    baseline gets better.
    """
    measured = [(t, t.measurement | confirmed.get(t.number, {})) for t in trials if t.state == "complete"]
    better = [(t, m) for t, m in measured if m.get("score_low", m["score"]) > baseline["score"]]
    if not better:
        return ""
    trial, best = max(better, key=lambda pair: pair[1]["score"])
    gain = best["score"] - baseline["score"]
    low, high = (best.get(f"score_{end}", best["score"]) - baseline["score"] for end in ("low", "high"))
    share = best["score"] / baseline["score"]
    stricter = [
        f"write `score >= {c.bound * share:.3g} * baseline` for `{c.text}`"
        for c in goals.constraints
        if c.quantity == "score" and c.relative
    ]
    return (
        f"{trial.label} scores {gain:.3f} more than the baseline ({low:.3f} to {high:.3f}): the baseline is "
        f"undertrained, so limits relative to its score are too easy by {share - 1:.1%}. "
        f"In a study of its own {', or '.join([*stricter, advice])}."
    )
