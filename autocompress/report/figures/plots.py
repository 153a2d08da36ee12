"""A study that draws itself: for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.engine.state import StudyState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from autocompress.report.figures.progress import Against


class PlottedStudy(StudyState):
    """Every `plot_` returns a Plotly figure, and raises `ConfigError` before the baseline was measured."""

    def plot_front(self, x: str = "latency_ms", y: str = "score", size: str | None = "size_mb") -> Figure:
        """Two measured quantities, with the limits, the baseline and the chosen one. `size`: a marker's area."""
        from autocompress.report.figures.front import front
        from autocompress.report.findings.gather import gather

        return front(gather(self), x, y, size)

    def plot_parallel(self) -> Figure:
        """Every measured recipe as a line through its knobs and its objectives."""
        from autocompress.report.figures.parallel import parallel
        from autocompress.report.findings.gather import gather

        return parallel(gather(self))

    def plot_importance(self) -> Figure:
        """How much each method and knob decides who is among the best, by objective."""
        from autocompress.report.figures.importance import importance
        from autocompress.report.findings.gather import gather

        return importance(gather(self))

    def plot_methods(self) -> Figure:
        """What is measured with and without each method, by objective."""
        from autocompress.report.figures.importance import methods
        from autocompress.report.findings.gather import gather

        return methods(gather(self))

    def plot_progress(self, against: Against = "trials") -> Figure:
        """The hypervolume and the best score, against trained trials or against seconds."""
        from autocompress.report.figures.progress import progress
        from autocompress.report.findings.gather import gather

        return progress(gather(self), against)

    def plot_time(self) -> Figure:
        """Where the time went, and what was saved."""
        from autocompress.report.figures.course import time
        from autocompress.report.findings.gather import gather

        return time(gather(self))

    def plot_fates(self) -> Figure:
        """What became of the recipes."""
        from autocompress.report.figures.course import fates
        from autocompress.report.findings.gather import gather

        return fates(gather(self))

    def plot_finalists(self) -> Figure:
        """The finalists' scores over several seeds, with their intervals."""
        from autocompress.report.figures.finalists import finalists
        from autocompress.report.findings.gather import gather

        return finalists(gather(self))

    def plot_attribution(self) -> Figure:
        """What each step of the chosen recipe gives and costs. `report` measures it, if the search did not."""
        from autocompress.report.figures.attribution import attribution
        from autocompress.report.findings.gather import gather

        return attribution(gather(self))
