"""How a running search looks at the foot of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autocompress.engine.trial import Trial
from autocompress.report.terminal.lines import DOING, about, counters
from autocompress.report.terminal.sheet import JOIN, MORE, Parts
from autocompress.report.terminal.short_recipes import short_recipes
from autocompress.report.terminal.view import SearchView, UnderWay
from autocompress.trials.job import BASELINE

_BAR, _SHORT_BAR, _SPARKS = 20, 12, 40  # signs
_LEVELS = "▁▂▃▄▅▆▇█"
_BETWEEN = " · "


def drawn(view: SearchView) -> RenderableType:
    """A bar for the budget, a line a worker, the best so far, what became of the others, how the front grew."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row("trained", _bar(_BAR, view.charged, view.budget, _budget(view)))
    workers = list(view.under_way.values())
    recipes, _ = short_recipes([now.recipe for now in workers], whole=True)
    for now, recipe in zip(workers, recipes, strict=True):
        grid.add_row(*_worker(now, recipe if now.recipe else ()))
    grid.add_row("best", _best(view))
    grid.add_row("others", _BETWEEN.join(counters(view)))
    if view.volumes:
        volume = Text(sparks(view.volumes), "cyan")
        grid.add_row("front", volume.append(f" hypervolume {view.volumes[-1]:.3f}", "default"))
    return Group(Text(""), grid)


@dataclass(frozen=True)
class _Line:
    """What a worker does, and as many of the recipe's steps as there is room for behind it."""

    doing: str
    recipe: Parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        told = [self._with(count) for count in range(len(self.recipe), -1, -1)]
        yield Text(next((line for line in told if cell_len(line) <= options.max_width), self.doing))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, cell_len(self._with(len(self.recipe)))).with_maximum(options.max_width)

    def _with(self, count: int) -> str:
        if not self.recipe or not count:
            return self.doing
        more = [MORE] if count < len(self.recipe) else []
        return self.doing + _BETWEEN + JOIN.join([*self.recipe[:count], *more])


def sparks(values: Sequence[float]) -> str:
    """A sign for each value, the lowest of them the lowest; of many, every so many-th and the last."""
    step = max(1, -(-len(values) // _SPARKS))
    shown = [values[at] for at in range((len(values) - 1) % step, len(values), step)]
    low, high = min(values), max(values)
    spread = high - low or 1.0
    return "".join(_LEVELS[round((value - low) / spread * (len(_LEVELS) - 1))] for value in shown)


def _bar(width: int, done: float, total: float, beside: RenderableType) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=width)
    grid.add_column()
    grid.add_row(ProgressBar(max(total, 1), done, width, complete_style="cyan", finished_style="green"), beside)
    return grid


def _budget(view: SearchView) -> str:
    told = [f"{view.charged} of {view.budget} trials", _clock(view.seconds)]
    left = view.seconds_left
    return _BETWEEN.join([*told, f"{about(left)} left"] if left else told)


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _worker(now: UnderWay, recipe: Parts) -> tuple[str, RenderableType]:
    name = "baseline" if now.job.number == BASELINE else f"t{now.job.number:03d}"
    doing = "is fine-tuned and measured" if now.job.kind == "baseline" else DOING[now.job.kind]
    told = [doing + (f" with seed {now.job.repeat + 1}" if now.job.repeat else "")]
    if now.job.share < 1:
        told[0] += f" to {now.job.share:.0%}"
    if now.step:
        told.append(f"step {now.step}/{now.steps}")
        told += [f"epoch {now.epoch[0]}/{now.epoch[1]}"] if now.epoch else []
        told.append(f"loss {now.loss:.3f}")
    beside = _Line(_BETWEEN.join(told), recipe)
    return name, _bar(_SHORT_BAR, now.step, now.steps, beside) if now.step else beside


def _best(view: SearchView) -> str:
    """By each objective: the figure, beside the baseline's, and whose it is."""
    best = view.best()
    told = [f"{name} {_figure(name, t)} ({t.label.split()[0]}{_ratio(view, name, t)})" for name, t in best.items()]
    return _BETWEEN.join(told) or "nothing feasible yet"


def _figure(name: str, trial: Trial) -> str:
    value = trial.measurement[name]
    return f"{value:.3f}" if name == "score" else f"{value:.3g}"


def _ratio(view: SearchView, name: str, trial: Trial) -> str:
    """Of the baseline's; of what should be low, how many times less it is."""
    before = view.baseline.measurement.get(name, 0.0) if view.baseline else 0.0
    value = trial.measurement[name]
    if before <= 0 or value <= 0:
        return ""
    return f", {value / before if view.objectives[name] == 'maximize' else before / value:.2f}x"
