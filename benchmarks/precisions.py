"""Every precision on ONNX Runtime, on the quickstart's model and texts: python benchmarks/precisions.py [NAME ...]

Latency is that of one text of 128 tokens on one thread, in turn with float32, by this thread's CPU time. Logits and
labels are those of the 400 validation texts in batches of 8; the simulation is the torch module with rounded numbers.
Writes benchmarks/results/precisions.json and precisions.md. With names, only those are measured anew.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from autocompress import measure
from autocompress.context import Context
from autocompress.examples import inputs
from autocompress.method import find
from autocompress.precision import PrecisionPlan
from autocompress.rounding import simulate
from autocompress.settings import Target
from autocompress.workbench import Workbench

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
TARGET = Target(threads=1, sequence_length=128)
BATCH = 8
RECIPES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "float32": [],
    "half float16": [("half", {})],
    "half bfloat16": [("half", {"dtype": "bfloat16"})],
    "int8_dynamic": [("int8_dynamic", {})],
    "int8_dynamic, one scale a tensor": [("int8_dynamic", {"per_channel": False})],
    "int8_dynamic, exclude first_last": [("int8_dynamic", {"exclude": "first_last"})],
    "int8_static minmax": [("int8_static", {"smooth": 0.0})],
    "int8_static minmax, smooth 0.5": [("int8_static", {"smooth": 0.5})],
    "int8_static percentile": [("int8_static", {"smooth": 0.0, "observer": "percentile"})],
    "int8_static entropy": [("int8_static", {"smooth": 0.0, "observer": "entropy"})],
    "qat, 1 epoch": [("qat", {}), ("finetune", {"epochs": 1, "lr": 1e-4})],
    "mixed_precision, drop 0.01": [("mixed_precision", {"drop": 0.01})],
    "weight_only 8 rtn": [("weight_only", {"bits": 8, "algorithm": "rtn"})],
    "weight_only 4 rtn": [("weight_only", {"bits": 4, "algorithm": "rtn"})],
    "weight_only 4 awq": [("weight_only", {"bits": 4, "algorithm": "awq"})],
    "weight_only 4 gptq": [("weight_only", {"bits": 4, "algorithm": "gptq"})],
    "weight_only 4 gptq, groups of 128": [("weight_only", {"bits": 4, "group_size": 128})],
    "embedding 8": [("embedding", {"bits": 8})],
    "embedding 4": [("embedding", {"bits": 4})],
    "heads 0.5 + neurons 0.5": [("heads", {}), ("neurons", {})],
    "heads 0.5 + neurons 0.5 + int8_dynamic": [("heads", {}), ("neurons", {}), ("int8_dynamic", {})],
    "low_rank 0.5": [("low_rank", {})],
    "low_rank 0.5 + int8_dynamic": [("low_rank", {}), ("int8_dynamic", {})],
}
KERNELS = (
    "MatMul", "FusedGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "GatherBlockQuantized",
    "BiasGelu", "LayerNormalization", "FusedMatMul",
)  # fmt: skip


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    file = RESULTS / "precisions.json"
    rows = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        bench = quickstart(Path(folder))
        for name in names or RECIPES:
            rows[name] = measured(bench, RECIPES[name], Path(folder) / "artefact")
            print(name, rows[name], flush=True)
    rows = {name: rows[name] for name in RECIPES if name in rows}
    file.write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "precisions.md").write_text(table(rows))


def quickstart(folder: Path) -> Workbench:
    """The workbench of a study of search_spaces/quickstart.yaml, its teacher fine-tuned."""
    (folder / "space.yaml").write_text((ROOT / "search_spaces" / "quickstart.yaml").read_text())
    (folder / "study.json").write_text(json.dumps({"root": str(ROOT)}))
    bench = Workbench(folder)
    bench.teach(lambda *_: None)
    bench.runtime.lower(bench.teacher.model, PrecisionPlan(), bench.example, folder / "float32")
    return bench


def measured(bench: Workbench, steps: list[tuple[str, dict[str, Any]]], folder: Path) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    ctx = Context(bench.teacher, bench.calibration, TARGET, bench.task.train)
    model = copy.deepcopy(bench.teacher.model)
    for name, knobs in steps:
        model = find(name)(**knobs).apply(model, ctx)
    bench.runtime.support(ctx.precision, TARGET)
    bench.runtime.lower(model, ctx.precision, bench.example, folder)
    session = bench.runtime.open(folder, TARGET)
    dense = bench.runtime.open(bench.folder / "float32", TARGET)
    batch = measure.latency_batch(bench.task.validation, TARGET)
    ratios = measure.latency(session, dense, batch, TARGET)
    ran_NC, dense_NC = (measure.logits(one, bench.task.validation, BATCH) for one in (session, dense))
    simulated_NC = torch_logits(simulate(model, ctx.precision, rounds_groups=True), bench)
    return {
        "ms": measure.absolute_latency(session, batch, TARGET),
        "ratio": [1 / ratios[name] for name in ("speedup", "speedup_high", "speedup_low")],
        "size_mb": measure.size_mb(bench.runtime.artefact(folder)),
        "score": bench.task.score(ran_NC, bench.task.validation.labels),
        "error": float(np.abs(ran_NC - dense_NC).max()), "agreement": agreement(ran_NC, dense_NC),
        "simulated_error": float(np.abs(ran_NC - simulated_NC).max()),
        "simulated_agreement": agreement(ran_NC, simulated_NC), "range": float(np.ptp(dense_NC)),
        "operators": operators(bench.runtime.artefact(folder)),
    }  # fmt: skip


def agreement(one_NC: np.ndarray, other_NC: np.ndarray) -> float:
    return float((one_NC.argmax(1) == other_NC.argmax(1)).mean())


def torch_logits(model: nn.Module, bench: Workbench) -> np.ndarray:
    """Logits (N, C) of the validation texts, in the batches that the artefact got."""
    with torch.no_grad():
        batches = bench.task.validation.batches(BATCH)
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in batches])


def operators(artefact: Path) -> dict[str, int]:
    """Those of the graph that the session runs, after its own optimisation."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(artefact.with_name("optimised.onnx"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(artefact, options)
    counts = Counter(node.op_type for node in onnx.load(artefact.with_name("optimised.onnx")).graph.node)
    return {name: counts[name] for name in KERNELS if counts[name]}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """As markdown."""
    first = next(iter(rows.values()))
    machine = measure.machine()
    lines = [
        "# Precisions on ONNX Runtime", "",
        "MiniLM of 6 layers x 384, fine-tuned by the quickstart on builtin/docstrings (10 labels). "
        f"{machine['cpu']}, one thread, one text of {TARGET.sequence_length} tokens, in turn with float32; ratios are "
        f"those of CPU times [95 % interval], milliseconds the ratio times float32's. "
        f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}. "
        f"Logits are of 400 validation texts and range over {first['range']:.1f}; labels that agree are a share "
        "of 400. The simulation is the torch module with the rounded numbers that the plan says.", "",
        "| precision | ms | of float32 | MB | score | logits off float32 | labels as float32 | logits off simulation "
        "| labels as simulation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, r in rows.items():
        ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*r["ratio"])
        lines.append(
            f"| {name} | {first['ms'] * r['ratio'][0]:.1f} | {ratio} | {r['size_mb']:.1f} | {r['score']:.3f} | "
            f"{r['error']:.3f} | {r['agreement']:.3f} | {r['simulated_error']:.4f} | {r['simulated_agreement']:.3f} |"
        )
    lines += ["", "Operators of the graph that the session runs:", "", "| precision | operators |", "|---|---|"]
    for name, r in rows.items():
        lines.append(f"| {name} | {', '.join(f'{count} {op}' for op, count in r['operators'].items())} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(sys.argv[1:])
