"""The model card of an exported folder: a README.md that says what the model is, how good, measured where, and how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autocompress.engine.trial import Trial
from autocompress.report.tables import DISTURBED, FRONT_COLUMNS, Row, disturbed, footnote, front_rows, markdown, short
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving.folder import Measured, Serving

if TYPE_CHECKING:
    from autocompress.space.search_space import SearchSpace

_COLUMNS: Row = ("", "this model", "95 % interval", "baseline")
_FIGURES = (  # name, unit, form
    ("latency_ms", "latency, ms", ".2f"), ("latency_ms_p95", "latency, 95th percentile, ms", ".2f"),
    ("speedup", "speedup", ".2f"),
    ("token_latency_ms", "latency of each further token, ms", ".2f"), ("token_speedup", "speedup of that", ".2f"),
    ("size_mb", "size of the model file, MB", ".1f"),
    ("archive_mb", "the same, deflated, MB", ".1f"), ("parameters", "parameters", ",.0f"),
)  # fmt: skip


def card(
    name: str, space: SearchSpace, trial: Trial, front: Sequence[Trial], baseline: Trial,
    serving: Serving, measured: Measured, artefact: str, broken: Sequence[str] = (),
) -> str:  # fmt: skip
    """Recipe, place on the front, figures with intervals, baseline, data, machine, how to load.

    `broken`: a phrase for every limit of the study that the model breaks.
    """
    sections = [
        f"# {space.model}, compressed: {trial.recipe.title}\n\n"
        f"Trial {trial.number} of the study `{name}`: {serving.kind.model_is} {_read(serving)}{_labels(serving)}, "
        f"made by autocompress {measured.versions['autocompress']}.",
        *_warning(broken),
        f"## Figures\n\n{figures(measured)}",
        _circumstances(space, measured),
        _front(trial, front, baseline),
        _use(serving, artefact),
        f"## Recipe\n\n```json\n{json.dumps(trial.recipe.dump(), indent=1)}\n```\n\n"
        "`recipe.yaml` holds the same with its seed.",
    ]
    return "\n\n".join(sections) + "\n"


def _warning(broken: Sequence[str]) -> list[str]:
    if not broken:
        return []
    limits = "\n".join(f"- `{limit}`" for limit in broken)
    return [f"**It does not keep every limit of its study.** It breaks:\n\n{limits}"]


def _labels(serving: Serving) -> str:
    return f" ({', '.join(serving.labels[:20])})" if serving.labels else ""


def _read(serving: Serving) -> str:
    columns = serving.task.text
    return "texts" if len(columns) == 1 else f"pairs of texts, {' and '.join(columns)}"


def figures(measured: Measured) -> str:
    """A table: what was measured, its interval, and the same of the baseline."""
    scores = [("score", f"{measured.metric}, validation"), ("test_score", f"{measured.metric}, test")]
    rows = [_row(measured, *line, ".3f") for line in scores]
    return markdown(_COLUMNS, [*rows, *(_row(measured, *line) for line in _FIGURES if line[0] in measured.trial)])


def _row(measured: Measured, name: str, title: str, form: str) -> Row:
    low, high = (measured.trial.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f"{low:{form}} to {high:{form}}"
    return title, f"{measured.trial[name]:{form}}", interval, f"{measured.baseline[name]:{form}}"


def _circumstances(space: SearchSpace, measured: Measured) -> str:
    """What the figures hold for."""
    target, machine = measured.target, measured.machine
    versions = ", ".join(f"{package} {number}" for package, number in measured.versions.items())
    data = json.dumps(space.task.model_dump(mode="json")["data"])
    doubt = f", and {DISTURBED}" if disturbed(measured.trial) else ""
    return (
        "The validation split chose this model among others; the test split was scored once, at the end. "
        f"Data: `{data}`.\n\n"
        f"Latency is that of {target.batch_size} x {target.sequence_length} tokens on {target.runs_in}, "
        f"{target.device}, {target.threads} thread(s){_to_what(measured)}. The speedup is the median ratio of runs "
        "in turn with the baseline, which is the same model uncompressed, on the same runtime; its interval is "
        "bootstrapped. "
        f"It was measured in {'a process of its own' if measured.isolated else 'the process of the search'}{doubt}.\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} core(s), {machine['system']} {machine['arch']}. "
        f"Versions: {versions}."
    )


def _to_what(measured: Measured) -> str:
    if "token_latency_ms" not in measured.trial:
        return ""
    return ", until the first token that follows them is known; each further one is read beside all that went before"


def _front(trial: Trial, front: Sequence[Trial], baseline: Trial) -> str:
    """Where this model stands among those that no other one beats."""
    numbers = [t.number for t in front]
    place = numbers.index(trial.number) + 1 if trial.number in numbers else None
    rank = f"number {place} of {len(front)} by score" if place else "not on it: another one beats it"
    listed = front if place else [*front, trial]
    return f"## The front\n\nThis model is {short(trial)}, {rank}.\n\n" + "\n\n".join(
        filter(None, [markdown(FRONT_COLUMNS, front_rows(baseline, listed)), footnote(listed)])
    )


def _use(serving: Serving, artefact: str) -> str:
    text = '"a text"' if len(serving.task.text) == 1 else '("a text", "another")'
    text += ", max_new_tokens=32" * serving.kind.continues
    answer = ", ".join(f"'{name}': ..." for name in serving.kind.columns_of_answers)
    return f"""## Use

```python
import autocompress

ask = autocompress.pipeline("this-folder")   # {artefact}: what was measured
ask({text})                                     # [{{{answer}}}]
model = autocompress.load("this-folder")          # a torch module with the Hugging Face interface
```

`autocompress verify this-folder` measures it again. {_elsewhere(artefact, serving.target.runtime)}"""


def _elsewhere(artefact: str, runtime: str) -> str:
    """How to run it without autocompress, if that is possible."""
    stock = find_runtime(runtime).opened_by
    if not stock:
        return f"It runs in {runtime}."
    return f"`{artefact}` needs no autocompress: any {stock} runs it on what `tokenizer.json` gives."
