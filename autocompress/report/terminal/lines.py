"""A running search in plain lines: one for every trial that ended, and one that says how far it is."""

from __future__ import annotations

import time
from collections import Counter

from rich.markup import escape

from autocompress.engine.trial import Trial
from autocompress.report.tables import short
from autocompress.report.terminal.view import SearchView, UnderWay
from autocompress.space.goals import Measurement
from autocompress.trials.job import BASELINE

DOING = {
    "baseline": "fine-tunes and measures the baseline", "applies": "asks which methods can act on this model",
    "rehearse": "rehearses", "train": "trains",
    "evaluate": "is measured", "remeasure": "is measured again", "judge": "is scored on the test split",
    "replay": "is replayed step by step",
}  # fmt: skip


def status(view: SearchView) -> str:
    """How far the search is, in one line."""
    doing = [_doing(each) for each in list(view.under_way.values())] or ["between trials"]
    left = view.seconds_left if view.charged else None
    best = view.best().get("score") or next(iter(view.best().values()), None)
    told = [
        f"best feasible t{best.number:03d} {figures(best.measurement)}" if best else "nothing feasible yet",
        *counters(view), f"{about(left)} left" if left else "",
    ]  # fmt: skip
    trained = f"{view.charged} of {view.budget} trials trained"
    return "; ".join([time.strftime("%H:%M"), *doing, trained, " · ".join(part for part in told if part)])


def counters(view: SearchView) -> list[str]:
    """What became of the trials that are not measured, and of those that need not be trained."""
    told = [f"{view.refused.total()} refused{_by(view.refused)}"]
    if view.stopped:
        told.append(f"{view.stopped.total()} stopped{_by(view.stopped, 'at ')}")
    if view.cached:
        told.append(f"{view.cached} from the cache")
    if view.failed:
        told.append(f"{view.failed} failed")
    return told


def trial_line(trial: Trial) -> tuple[str, str, str]:
    """Who it is, its recipe, and what became of it, all as rich's markup."""
    if trial.number == BASELINE:
        return "[bold]baseline[/]", "", figures(trial.measurement)
    name, recipe = f"[bold]t{trial.number:03d}[/]", escape(short(trial))
    recipe += f" [dim](trained as t{trial.variant_of:03d})[/]" if trial.variant_of is not None else ""
    if trial.state != "complete":
        colour = "red" if trial.state == "failed" else "dim"
        return name, recipe, f"[{colour}]{trial.state}: {escape(trial.reason)}[/]"
    verdict = "[green]feasible, on the front[/]" if trial.front else "feasible" if trial.feasible else ""
    verdict = verdict or f"[dim]over the limits: {escape(trial.reason)}[/]"
    return name, recipe, f"{figures(trial.measurement)}  {verdict}"


def figures(m: Measurement) -> str:
    return f"{m['score']:.3f} {m['latency_ms']:.2f} ms ({m['speedup']:.2f}x) {m['size_mb']:.1f} MB"


def about(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def _doing(now: UnderWay) -> str:
    who = "the search" if now.job.number == BASELINE else f"t{now.job.number:03d} {now.recipe.title}"
    told = f"{who} {DOING[now.job.kind]}"
    if now.step:
        told += f", step {now.step} of {now.steps}, loss {now.loss:.3f}"
    return told + (f", {about(now.left)} left" if now.left else "")


def _by(counts: Counter[str], before: str = "") -> str:
    return f" ({', '.join(f'{count} {before}{name}' for name, count in counts.most_common())})" if counts else ""
