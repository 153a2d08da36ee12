"""Every precision on every runtime: python -m benchmarks.precisions [NAME ...] [--model M] [--runtime R]

Two models: `minilm`, the quickstart's, fine-tuned on its texts, and `bert-base`, 12 layers x 768 with random weights.
Latency is that of one text of 32 and of 128 tokens on one thread, in turn with float32 on ONNX Runtime, by CPU time.
Logits and labels are of validation texts in batches of 8; the simulation is the torch module with rounded numbers.

What benchmarks/results/precisions.json has already is not measured again, unless with `--again`; after `--minutes` no
new row is begun, and the same command goes on where it stopped. precisions.md is written anew from all there is.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from pydantic import ValidationError
from torch import nn

from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.context import Context
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Runtime, Session, find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Examples, inputs
from benchmarks.precisions_models import BATCH, LENGTHS, MODELS, NEEDS_TRAINING, RECIPES, Subject
from benchmarks.precisions_table import table

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]
RUNTIMES: dict[str, dict[str, Any]] = {  # what the table calls it -> what a target says
    "onnxruntime": {"runtime": "onnxruntime"},
    "torch": {"runtime": "torch"},
    "torch compiled": {"runtime": "torch", "compile": True},
    "openvino": {"runtime": "openvino"},
}
KERNELS = (
    "MatMul", "FusedGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "GatherBlockQuantized",
    "BiasGelu", "LayerNormalization", "FusedMatMul",
)  # fmt: skip


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    file, end = RESULTS / "precisions.json", time.monotonic() + 60 * asked.minutes
    found = json.loads(file.read_text()) if file.exists() else {}
    absent = {name: reason for name in RUNTIMES if (reason := missing(name))}
    for model in [asked.model] if asked.model else MODELS:
        for runtime in [asked.runtime] if asked.runtime else [name for name in RUNTIMES if name not in absent]:
            if runtime in absent:
                raise SystemExit(absent[runtime])
            rows = found.setdefault(model, {}).setdefault(runtime, {})
            wanted = [name for name in asked.names or RECIPES if asked.again or name not in rows]
            for name, row in measured_rows(model, runtime, wanted, end):
                rows[name] = json.loads(json.dumps(row))
                file.write_text(json.dumps(found, indent=1) + "\n")
                print(model, runtime, name, row, flush=True)
    (RESULTS / "precisions.md").write_text(table(found, list(RUNTIMES), list(RECIPES), absent))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--runtime", choices=RUNTIMES)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(RECIPES):
        parser.error(f"there is no precision {min(unknown)!r}. There are: {', '.join(RECIPES)}")
    return asked


def reached(name: str) -> tuple[Target, Runtime]:
    target = Target(**RUNTIMES[name], threads=1, sequence_length=LENGTHS[-1])
    return target, find_runtime(target.runtime)


def missing(name: str) -> str:
    """Why this runtime cannot be measured here; nothing if it can."""
    try:
        target, runtime = reached(name)
        runtime.support(PrecisionPlan(), target)
    except (ConfigError, NotApplicable, ValidationError) as e:
        said = f"this autocompress has no runtime {name}" if isinstance(e, ValidationError) else str(e)
        return f"{name} is not here: {said}"
    return ""


def measured_rows(model: str, runtime: str, names: list[str], end: float) -> Iterator[tuple[str, Row]]:
    """The rows of a model on a runtime, until the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        subject = None
        for name in names:
            if time.monotonic() > end:
                return
            subject = subject or MODELS[model](Path(folder))
            try:
                yield name, measured(subject, runtime, name)
            except NotApplicable as e:
                yield name, {"not_applicable": str(e)}


def measured(subject: Subject, name: str, recipe: str) -> Row:
    """One row of the table. Raises `NotApplicable` if the runtime cannot carry the recipe out."""
    target, runtime = reached(name)
    if subject.train is None and recipe in NEEDS_TRAINING:
        raise NotApplicable("it needs a model that is trained")
    torch.manual_seed(0)
    ctx = Context(subject.teacher, subject.calibration, target, subject.train)
    model = copy.deepcopy(subject.teacher.model)
    for method, knobs in RECIPES[recipe]:
        model = find(method)(**knobs).apply(model, ctx)
    runtime.support(ctx.precision, target)
    with tempfile.TemporaryDirectory(dir=subject.folder) as place:
        folder = Path(place)
        runtime.lower(model, ctx.precision, subject.texts[LENGTHS[-1]], folder)
        session, artefact = runtime.open(folder, target), runtime.artefact(folder)
        ran_NC, plain_NC = runtime_logits(session, subject.validation), subject.reference_NC
        simulated_NC = torch_logits(runtime.simulate(model, ctx.precision), subject.validation)
        return {
            "ratio": {n: ratio(session, subject, n, target) for n in LENGTHS}, "reference_ms": subject.reference_ms,
            "size_mb": latency.size_mb(artefact), "range": float(np.ptp(plain_NC)),
            "error": float(np.abs(ran_NC - plain_NC).max()), "agreement": agreement(ran_NC, plain_NC),
            "simulated_error": float(np.abs(ran_NC - simulated_NC).max()),
            "simulated_agreement": agreement(ran_NC, simulated_NC),
        } | (score(ran_NC, subject) | operators(artefact))  # fmt: skip


def ratio(session: Session, subject: Subject, tokens: int, target: Target) -> list[float]:
    """Its time over that of the reference, with the ends of the 95 % interval."""
    found = latency.latency(session, subject.reference, subject.texts[tokens], target)
    return [1 / found[end] for end in ("speedup", "speedup_high", "speedup_low")]


def agreement(one_NC: np.ndarray, other_NC: np.ndarray) -> float:
    return float((one_NC.argmax(1) == other_NC.argmax(1)).mean())


def score(logits_NC: np.ndarray, subject: Subject) -> dict[str, float]:
    """Accuracy, where a model was trained for these labels."""
    right_N = logits_NC.argmax(1) == np.array(subject.validation.labels)
    return {} if subject.train is None else {"score": float(right_N.mean())}


def runtime_logits(session: Session, texts: Examples) -> np.ndarray:
    """(N, C)."""
    return np.concatenate([session.run(batch) for batch in texts.batches(BATCH)])


def torch_logits(model: nn.Module, texts: Examples) -> np.ndarray:
    """Logits (N, C) of the texts, in the batches that the artefact got."""
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in texts.batches(BATCH)])


def operators(artefact: Path) -> dict[str, dict[str, int]]:
    """Those of the graph that an ONNX Runtime session runs, after its own optimisation."""
    if artefact.suffix != ".onnx":
        return {}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(artefact.with_name("optimised.onnx"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(artefact, options)
    counts = Counter(node.op_type for node in onnx.load(artefact.with_name("optimised.onnx")).graph.node)
    return {"operators": {name: counts[name] for name in KERNELS if counts[name]}}


if __name__ == "__main__":
    main()
