"""Views that are saved with an experiment, so that MLflow's pages open on what matters: its trials, and its front.

MLflow keeps a saved view as a tag of the experiment: a name, times, and the state of the page as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from autocompress.space.axes import Axis
from autocompress.tracking.runs import STUDY, StudyView

_METRICS = ("score", "latency_ms", "size_mb", "speedup", "size_ratio")
_KNOBS = 6  # columns of the table, and
_AXES = 8  # of the chart: more are not told apart
_DIFFER, _COST = "How the recipes of the front differ", "What the score costs"
_UNNAMED = "Model metrics"  # MLflow's section for metrics without a `/`; others have what stands before it


def table_view(view: StudyView, created: int) -> str:
    """The table of a study's trials, best score first: what decides them, what they measured, what became of them."""
    knobs = [f"params.`{axis.name}`" for axis in view.axes or () if axis.leads][:_KNOBS]
    metrics = [f"metrics.`{name}`" for name in _METRICS]
    tags = [f"tags.`autocompress.{name}`" for name in ("front", "feasible", "state", "reason")]
    columns = [*metrics, *knobs, *tags]
    widths = {"attributes.`Run Name`": 300} | dict.fromkeys(metrics, 95) | dict.fromkeys(knobs, 110)
    widths |= dict.fromkeys(tags, 165)
    state = {
        "searchFilter": f"tags.`autocompress.study_id` = '{view.id}' and tags.`autocompress.kind` != '{STUDY}'",
        "orderByKey": metrics[0],
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": widths,
    }
    return _saved(view.name, created, state)


def front_view(view: StudyView, params: Sequence[str], metrics: Iterable[str], created: int) -> str:
    """The front as charts: parallel coordinates over `params` and what was measured, and the score against its cost.

    `metrics`: those that the runs have. MLflow adds a bar chart of each, which is folded away.
    """
    measured = ["latency_ms", "size_mb", "score"]  # lines are coloured by the last
    charts = [_card(_DIFFER, "PARALLEL", selectedParams=[*params], selectedMetrics=measured, showAllRuns=True)]
    for cost in measured[:-1]:
        axes = {"xaxis": {"key": cost, "type": "METRIC"}, "yaxis": {"key": "score", "type": "METRIC"}}
        charts.append(_card(_COST, "SCATTER", **axes))
    folded = sorted({name.rpartition("/")[0] or _UNNAMED for name in metrics})
    state = {
        "searchFilter": f"tags.`autocompress.study_id` = '{view.id}' and tags.`autocompress.front` = 'true'",
        "orderByKey": "metrics.`score`",
        "orderByAsc": False,
        "compareRunCharts": charts,
        "compareRunSections": [
            _section(_DIFFER, columns=1, cardHeight=440), _section(_COST, columns=2),
            *(_section(name, display=False, isGenerated=True) for name in folded),
        ],
        "isAccordionReordered": True,
        "runsHiddenMode": "SHOW_ALL",
    }  # fmt: skip
    return _saved(f"{view.name}: the front", created, state)


def told_by(view: StudyView, values: Sequence[dict[str, Any]]) -> list[str]:
    """The axes on which recipes with these values differ; if they are many, those that lead.

    Of a method's knobs that part the recipes alike, such as a choice that is made once more by each, one is enough.
    """
    differ, seen = list[Axis](), set[tuple[str, tuple[int, ...]]]()
    for axis in view.axes or ():
        column = [repr(each.get(axis.name)) for each in values]
        parted = axis.name.partition(".")[0], tuple(map(column.index, column))
        if len({*column}) > 1 and parted not in seen:
            seen.add(parted)
            differ.append(axis)
    kept = sorted(differ, key=lambda axis: not axis.leads)[:_AXES]
    return [axis.name for axis in differ if axis in kept]


def _saved(name: str, created: int, state: dict[str, Any]) -> str:
    return json.dumps({"name": name, "createdAt": created, "updatedAt": created, "state": json.dumps(state)})


def _card(section: str, kind: str, **more: Any) -> dict[str, Any]:
    own = {"type": kind, "metricSectionId": section, "isGenerated": False, "deleted": False, "runsCountToCompare": 100}
    return {"uuid": f"{kind} {more.get('xaxis')}"} | own | more


def _section(name: str, **more: Any) -> dict[str, Any]:
    own = {"uuid": name, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return own | more
