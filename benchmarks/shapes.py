"""Is a pruned model as fast as its shape deserves? python benchmarks/shapes.py

MiniLM's shape pruned and factored, on ONNX Runtime, one thread, one text of 128 tokens. Each is measured in turn with
the dense model by this thread's CPU time, and set against the time that its multiply-adds need at the speed of the
runtime's own matrix products (what `autocompress profile` prints). Writes benchmarks/results/shapes.json and shapes.md.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime

from autocompress.machine import fingerprint
from autocompress.methods.context import Context, Teacher
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.profiling.profile import Profile, profile
from autocompress.profiling.speeds import Speeds, speeds
from autocompress.profiling.subject import Subject, find_subject
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target

RESULTS = Path(__file__).parent / "results"
TARGET = Target(threads=1, sequence_length=128)
SHAPES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "dense": [],
    "layers 0.5": [("layers", {"keep": 0.5})],
    "heads 0.75": [("heads", {"keep": 0.75})],
    "heads 0.5": [("heads", {"keep": 0.5})],
    "heads 0.25": [("heads", {"keep": 0.25})],
    "neurons 0.5": [("neurons", {"keep": 0.5})],
    "neurons 0.25": [("neurons", {"keep": 0.25})],
    "low_rank 0.5": [("low_rank", {"keep": 0.5})],
    "low_rank 0.25": [("low_rank", {"keep": 0.25})],
    "heads 0.5 + neurons 0.5": [("heads", {"keep": 0.5}), ("neurons", {"keep": 0.5})],
    "heads 0.5 + neurons 0.5 + low_rank 0.5": [
        ("heads", {"keep": 0.5}), ("neurons", {"keep": 0.5}), ("low_rank", {"keep": 0.5})
    ],
}  # fmt: skip
KINDS = ("attention projections", "attention products", "feed-forward")


def main() -> None:
    ceilings, subject = speeds(TARGET), find_subject("builtin/minilm", Path(), TARGET)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for int8 in (False, True):
            for name, steps in SHAPES.items():
                steps = [*steps, ("int8_dynamic", {})] if int8 else steps
                label = name + (" + int8" if int8 else "")
                rows.append({"shape": label, **measured(subject, label, steps, ceilings, Path(folder))})
                print(rows[-1], flush=True)
    found = {"machine": fingerprint.machine(), "speeds": ceilings.model_dump(), "shapes": rows}
    (RESULTS / "shapes.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "shapes.md").write_text(table(ceilings, rows))


def measured(
    subject: Subject, name: str, steps: list[tuple[str, dict[str, Any]]], ceilings: Speeds, scratch: Path
) -> dict[str, Any]:
    """One row: the profile of the shape, and its speedup over the dense model's file, which is measured first."""
    runtime, batch = find_runtime(TARGET.runtime), subject.batch()
    teacher = Teacher(lambda: subject.module)
    ctx = Context(teacher, [batch], TARGET, None, 0, precision=PrecisionPlan())
    model = copy.deepcopy(subject.module)
    for method, knobs in steps:
        model = find(method)(**knobs).apply(model, ctx)
    folder = scratch / (name if steps else "dense")
    runtime.lower(model, ctx.precision, batch, folder)
    found = profile(name, model, ctx.precision, folder, batch, TARGET, ceilings)
    one, dense = (runtime.open(path, TARGET) for path in (folder, scratch / "dense"))
    ratio = latency.latency(one, dense, batch, TARGET)
    return row(found, ratio)


def row(found: Profile, ratio: dict[str, float]) -> dict[str, Any]:
    kinds = {kind.kind: kind for kind in found.kinds}
    return {
        "multiply_adds": found.all.multiply_adds, "ms": found.all.latency_ms,
        "needed_ms": found.all.needed_ms, "times_needed": found.all.times_needed,
        "speedup": [ratio[key] for key in ("speedup", "speedup_low", "speedup_high")],
        "times_by_kind": {kind: kinds[kind].times_needed for kind in KINDS if kind in kinds},
    }  # fmt: skip


def table(ceilings: Speeds, rows: list[dict[str, Any]]) -> str:
    """As markdown."""
    lines = [
        "# Pruned shapes against their multiply-adds", "",
        f"MiniLM of 6 layers x 384, pruned and factored, not trained. {fingerprint.machine()['cpu']}, one thread, one "
        f"text of {TARGET.sequence_length} tokens, onnxruntime {onnxruntime.__version__}. Matrix products alone run "
        f"there at {ceilings.float32:.0f} GFLOP/s in float32 and {ceilings.int8 or 0:.0f} in 8 bits: `needs` is what "
        "its multiply-adds take at that speed, `rest` the time beyond it (softmax, GELU, norms, adds, which factors "
        "and fewer heads leave as they are, and what products lose by being thin), `times` the measured time over "
        "`needs`, also of attention projections, attention products and feed-forward alone. The speedup over `dense` "
        "is measured in turn with it [95 % "
        "interval]; `deserved` is the ratio of what both need.", "",
        "| shape | ms | needs | rest | times | projections | products | feed-forward | speedup | deserved |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in rows:
        kinds = " | ".join(f"{one['times_by_kind'][kind]:.2f}" for kind in KINDS)
        speedup = "{:.2f} [{:.2f}, {:.2f}]".format(*one["speedup"])
        lines.append(
            f"| {one['shape']} | {one['ms']:.2f} | {one['needed_ms']:.2f} | {one['ms'] - one['needed_ms']:.2f} | "
            f"{one['times_needed']:.2f} | {kinds} | {speedup} | {rows[0]['needed_ms'] / one['needed_ms']:.2f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
