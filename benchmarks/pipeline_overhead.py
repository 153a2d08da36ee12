"""Where a search's time goes besides training and scoring, by trials of 25 s and of 5 minutes.

    python -m benchmarks.pipeline_overhead [--train FILE --text COLUMN --label COLUMN] [--seconds 25 300]

`builtin/minilm` on 1,200 short texts (builtin/docstrings, if no file is given), one worker, so that seconds add up to
the wall's: 10 trials of 25 s, then 3 of 300 s. About 25 minutes on 2 quiet cores. The epochs of a trial are what comes
to its length at the pace of the teacher's training, of which a model of this space takes about half. Wall seconds are
from the first recipe that is asked for to the last result that is written down; baseline and confirmations are not in
them. Variants are trials without a training of their own, as many as `search.variant_time` lets be: what they take is
told, and is on neither side of a share.

Training is its steps, scoring what the job calls `evaluate`. `beside the steps`: the rest of training jobs (loading,
building, saving). `coordinator`: what belongs to no job: asking, telling, logging to MLflow.
Bars: 12 % of the wall outside of training and scoring for 25 s, 3 % for 300 s. Writes
results/pipeline_overhead.{json,md}; exit code 1 if one is missed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from autocompress.machine import fingerprint
from autocompress.space.rungs import share_name
from autocompress.study import Study
from benchmarks.rehearsals import do
from benchmarks.workers import TEACHER_EPOCHS, options, space

RESULTS = Path(__file__).resolve().parent / "results"
MOST = {25.0: 0.12, 300.0: 0.03}  # seconds of a trial -> share of the wall
ALL = 240.0  # seconds of training at least, in 3 trials at least
WORTH, VARIANTS = ("training steps", "evaluate"), "variants"
PACE = 0.55  # of the teacher's seconds, in the mean of the space


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=list(MOST))
    parser.add_argument("--all", type=float, default=ALL, help="seconds of training at least, of each length")
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": fingerprint.machine(), "lengths": {}}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "AUTOCOMPRESS_CACHE": f"{folder}/cache"}
        Path("first.yaml").write_text(json.dumps(space(asked)))
        epoch = do(Study.create(Path("first.yaml")), "baseline").seconds["train"] / TEACHER_EPOCHS
        for seconds in asked.seconds:
            trials = max(3, round(asked.all / seconds))
            name = f"of-{seconds:g}"
            Path(f"{name}.yaml").write_text(
                json.dumps(space(asked, max(1, round(seconds / epoch / PACE)), trials=trials))
            )
            study = Study.create(Path(f"{name}.yaml"))
            study.run(report=False, workers=1)
            found["lengths"][f"{seconds:g}"] = parts(study)
    (RESULTS / "pipeline_overhead.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "pipeline_overhead.md").write_text(table(found))
    print(table(found))
    return 0 if all(met for _, met in bars(found)) else 1


def parts(study: Study) -> dict[str, Any]:
    """Seconds by what they went to; they add up to the wall's."""
    spent = Counter[str]()
    for trial in study.trials:
        if trial.variant_of is not None:
            spent.update({VARIANTS: sum(trial.seconds.values())})
            continue
        spent.update(trial.seconds)
        if trial.charged:
            steps = trial.rung_seconds.get(share_name(1.0), max(trial.rung_seconds.values(), default=0.0))
            spent.update({"training steps": steps})
    spent["beside the steps"] = spent.pop("train", 0.0) - spent["training steps"]
    wall = max(trial.ended for trial in study.trials)
    spent["coordinator"] = wall - sum(spent.values())
    outside = 1 - sum(spent[name] for name in WORTH) / (wall - spent[VARIANTS])
    charged = [t for t in study.trials if t.charged]
    each = spent["training steps"] / len(charged)
    return {"wall": wall, "trials": len(charged), "each": each, "outside": outside, "seconds": dict(spent)}


def bars(found: dict[str, Any]) -> list[tuple[str, bool]]:
    return [
        (f"{length} s: {one['outside']:.1%} outside of training and scoring: {MOST[float(length)]:.0%}",
         one["outside"] <= MOST[float(length)])
        for length, one in found["lengths"].items() if float(length) in MOST
    ]  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = ["# Where a search's time goes", "", f"One worker, {found['machine']['cpu']}.", ""]
    for length, one in found["lengths"].items():
        steps = one["seconds"]
        lines += [
            f"Trials of {length} s: {one['trials']} with {one['each']:.0f} s of steps each, {one['wall']:.0f} s in "
            f"all, {one['outside']:.1%} outside of training and scoring.",
            "", "| | seconds | of the wall |", "|---|---|---|",
        ]  # fmt: skip
        outside = sorted((name for name in steps if name not in (*WORTH, VARIANTS)), key=lambda name: -steps[name])
        for name in [*WORTH, VARIANTS, *outside[:5]]:
            lines.append(f"| {name} | {steps.get(name, 0):.1f} | {steps.get(name, 0) / one['wall']:.1%} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {'met' if met else 'MISSED'}: {bar}." for bar, met in bars(found)), ""])


if __name__ == "__main__":
    sys.exit(main())
