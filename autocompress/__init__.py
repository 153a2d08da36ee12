"""autocompress: constrained, recipe-driven search for small and fast text models.

    study = autocompress.search("space.yaml")
    study.best("fastest").recipe
    study.export("exported/")
    autocompress.pipeline("exported/")("a text")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from autocompress.engine.events import Observer
    from autocompress.serving.pipeline import Pipeline
    from autocompress.study import Study

__all__ = ["load", "open_study", "pipeline", "search"]


def search(
    space: str | Path, *, trials: int | None = None, timeout: float = float("inf"), name: str | None = None,
    observer: Observer | None = None, workers: int = 1, trial_timeout: float | None = None, report: bool = True,
) -> Study:  # fmt: skip
    """Run a search, or go on with it, until `trials` recipes were trained in all or `timeout` seconds are over.

    `workers` trials go on at once, each in a process with its share of the machine: call this under
    `if __name__ == "__main__":`, for every worker imports your script. A trial fails whose training takes longer than
    `trial_timeout` seconds. `report`: at the end, write studies/NAME/report/report.html.

    Raises `ConfigError` for mistakes in the file, `NothingFeasible` if no recipe meets every constraint,
    `Paused` for trouble outside the recipes.
    """
    from autocompress.study import Study

    study = Study.create(Path(space), name)
    study.run(trials, timeout, observer, workers, trial_timeout, report=report)
    return study


def open_study(name: str | Path) -> Study:
    """A study that exists, by its name or its folder."""
    from autocompress.study import Study

    return Study.open(str(name))


def load(folder: str | Path) -> nn.Module:
    """An exported model as a torch module with the Hugging Face interface, in eval mode."""
    from autocompress.serving.pipeline import load

    return load(folder)


def pipeline(folder: str | Path) -> Pipeline:
    """An exported model, ready to answer, on the runtime it was measured on."""
    from autocompress.serving.pipeline import pipeline

    return pipeline(folder)
