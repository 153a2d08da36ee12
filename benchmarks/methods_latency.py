"""The latencies of benchmarks.methods: what each method's model takes beside the finetune's, in turn, in quiet."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autocompress.engine.trial import Trial
from autocompress.machine import fingerprint
from autocompress.space.method import methods
from autocompress.study import Study
from benchmarks.methods_spaces import Setting, names_of, recipe_of, teaches
from benchmarks.methods_table import read, state


def trial_of(study: Study, recipe: list[Any]) -> Trial | None:
    """The trial of these steps, if it has been scored."""
    wanted = names_of(recipe)
    each = (trial for trial in study.trials if "score" in trial.measurement)
    return next((trial for trial in each if trial.recipe and [m.name for m in trial.recipe] == wanted), None)


def measure(setting: Setting) -> None:
    """Speedup of each method's model over the finetune's, in turn. Models are written and taken away.

    Of every study that is here, whatever its seed; those that teach change no latency.
    """
    kept = read(f"latency-{setting.name}") or {"machine": machine(), "date": str(datetime.date.today()), "speedup": {}}
    for folder in sorted(Path("studies").glob(f"methods-{setting.name}-*")):
        study = Study.open(folder.name)
        plain = trial_of(study, recipe_of("finetune", setting))
        each = {name: trial_of(study, recipe_of(name, setting)) for name in methods() if not teaches(name)}
        left = {name: t for name, t in each.items() if t and name not in (*kept["speedup"], "finetune")}
        if plain is None or not left:
            continue
        with tempfile.TemporaryDirectory(dir=".") as scratch:
            for name, ratios in ratios_of(study, plain, left, Path(scratch)):
                kept["speedup"][name] = ratios
                state(f"latency-{setting.name}").write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{setting.tokens} tokens, {name}: {ratios['speedup']:.2f}x", flush=True)


def machine() -> str:
    facts = fingerprint.machine("cpu")
    return f"{facts['cpu']}, {facts['cores']} of its cores"


def ratios_of(
    study: Study, plain: Trial, trials: dict[str, Trial], scratch: Path
) -> Iterator[tuple[str, dict[str, float]]]:
    """Each trial's model beside the plain one's."""
    from autocompress.runtimes import isolated, latency
    from autocompress.serving.pipeline import Pipeline

    folder = study.export(scratch / "finetune", trial=plain.number)
    pipeline = Pipeline(folder)
    rows = pipeline.kind.examples(pipeline.tokenizer, [("text",)], [pipeline.kind.label((0,))], 8)
    batch = latency.latency_batch(rows, pipeline.target)
    for name, trial in trials.items():
        with tempfile.TemporaryDirectory(dir=scratch) as own:
            theirs = study.export(Path(own) / "model", trial=trial.number)
            yield name, isolated.latency(theirs, folder, batch, pipeline.target)
