"""The folder that ships: the measured artefact, the module, the tokenizer, and how they came to be.

    model.onnx         (or the runtime's own file) the artefact that was measured
    model.safetensors  config.json  structure.json  precision.json   the module: `autocompress.load(DIR)`
    tokenizer files    recipe.yaml  measurement.json  serving.json  README.md

Nothing in it is a pickle or code.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress import cache
from autocompress.errors import ConfigError
from autocompress.ledger import Trial
from autocompress.space import write_yaml
from autocompress.tables import FRONT_COLUMNS, front_rows, markdown
from autocompress.trial import trial_folder, workbench

if TYPE_CHECKING:
    from autocompress.study import Study

FORMAT = 1


def export(study: Study, trial: Trial, to: Path) -> Path:
    """Write `trial` to the new or empty folder `to`. A trial that left the front is made again first."""
    if trial.state != "complete":
        raise ConfigError(f"{trial.label} is {trial.state}: only a complete trial can be exported. {trial.reason}")
    if to.exists() and any(to.iterdir()) and not (to / "serving.json").exists():
        raise ConfigError(f"{to}: it is not empty and not an exported model. Give a new folder.")
    place = trial_folder(study.folder, trial.number)
    if not (place / "artefact").exists():
        study.remake(trial)
    scores = study.judged(trial)
    cache.write_folder(to.resolve(), lambda draft: _fill(draft, study, trial, place, scores))
    return to


def _fill(draft: Path, study: Study, trial: Trial, place: Path, scores: dict[str, float]) -> None:
    bench = workbench(study.folder)
    for source in (place / "model", place / "artefact"):
        shutil.copytree(source, draft, dirs_exist_ok=True)
    (draft / "recipe.json").unlink()
    bench.task.tokenizer.save_pretrained(draft)
    seed = bench.seed_of(trial.recipe)
    write_yaml(draft / "recipe.yaml", {"seed": seed, "steps": trial.recipe.dump()})
    cache.write_json(draft / "measurement.json", _measurement(study, trial, scores))
    cache.write_json(draft / "serving.json", _serving(study))
    (draft / "README.md").write_text(card(study, trial, scores))


def _serving(study: Study) -> dict[str, Any]:
    """What a pipeline needs besides the model."""
    bench = workbench(study.folder)
    return {
        "format": FORMAT, "target": study.space.target.model_dump(mode="json"),
        "labels": list(bench.task.labels), "max_length": study.space.task.max_length,
        "text": list(study.space.task.text),
    }  # fmt: skip


def _measurement(study: Study, trial: Trial, scores: dict[str, float]) -> dict[str, Any]:
    assert study.baseline
    return {
        "trial": trial.measurement | {"test_score": scores["test_score"]},
        "baseline": study.baseline.measurement | {"test_score": scores["baseline_test_score"]},
        "metric": study.space.task.metric,
        "target": study.space.target.model_dump(mode="json"),
        "machine": study.record["machine"], "versions": study.record["versions"],
        "runtime": workbench(study.folder).runtime.describe(),
    }  # fmt: skip


def card(study: Study, trial: Trial, scores: dict[str, float]) -> str:
    """The model card."""
    assert study.baseline
    space, target = study.space, study.space.target
    steps = json.dumps(trial.recipe.dump(), indent=1)
    where = f"{target.runtime}, {target.device}, {target.threads} thread(s), {study.record['machine']['cpu']}"
    return f"""# {space.model}, compressed: {trial.recipe.title}

Trial {trial.number} of the study `{study.name}`, made by autocompress {study.record["versions"]["autocompress"]}.

{markdown(FRONT_COLUMNS, front_rows(study.baseline, [trial]))}

`score` is the validation {space.task.metric}, which chose this model among others.
On the untouched test split it has {scores["test_score"]:.3f}, the baseline {scores["baseline_test_score"]:.3f}.
Latency is that of {target.batch_size} x {target.sequence_length} tokens on {where}.
The speedup was measured in turn with the baseline, with its 95 % interval. Data: `{space.task.data}`.

## Use

```python
import autocompress

classify = autocompress.pipeline("this-folder")   # the measured artefact
classify("a text")                                # [{{'label': ..., 'score': ...}}]
model = autocompress.load("this-folder")          # a torch module with the Hugging Face interface
```

`{workbench(study.folder).runtime.artefact(Path()).name}` needs no autocompress to run.

## Recipe

```json
{steps}
```
"""
