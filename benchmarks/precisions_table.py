"""What `precisions` found, as markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from autocompress.machine import fingerprint

Rows = dict[str, dict[str, Any]]  # precision -> what was measured
Found = dict[str, dict[str, Rows]]  # model -> runtime -> rows
_PACKAGES = ("onnxruntime", "torch", "openvino", "transformers")
_WHAT = {
    "minilm": "MiniLM, 6 layers x 384, fine-tuned by the quickstart on builtin/docstrings (10 labels). Logits and "
    "labels are those of 400 validation texts.",
    "bert-base": "BERT-base's shape, 12 layers x 768, with random weights: logits are those of 64 validation texts, "
    "and labels that agree say little.",
}
_LENGTHS = ("32", "128")  # tokens
_HEAD = [
    "| precision | runtime | ms, 32 tokens | of float32 on onnxruntime | ms, 128 tokens | of float32 on onnxruntime "
    "| MB | logits off float32 | labels as float32 | logits off simulation | labels as simulation | score |",
    "|---" * 12 + "|",
]


def table(found: Found, runtimes: list[str], recipes: list[str], absent: dict[str, str]) -> str:
    """One section a model, one row a precision and runtime."""
    lines = ["# Precisions on every runtime", "", *_preface(absent)]
    for model, what in _WHAT.items():
        if rows := found.get(model):
            lines += ["", f"## {model}", "", *_summary(what, rows), "", *_HEAD]
            order = [(recipe, runtime) for recipe in recipes for runtime in runtimes if recipe in rows.get(runtime, {})]
            reference_ms = {tokens: _reference_ms(rows, tokens) for tokens in _LENGTHS}
            lines += [_line(recipe, runtime, rows[runtime][recipe], reference_ms) for recipe, runtime in order]
    operators = found.get("minilm", {}).get("onnxruntime", {})
    lines += ["", "## Operators", "", "Of the graph that ONNX Runtime runs for minilm:", ""]
    lines += ["| precision | operators |", "|---|---|"]
    for recipe in (recipe for recipe in recipes if recipe in operators):
        counts = operators[recipe]["operators"]
        lines.append(f"| {recipe} | {', '.join(f'{count} {op}' for op, count in counts.items())} |")
    return "\n".join([*lines, ""])


def _preface(absent: dict[str, str]) -> Iterator[str]:
    versions = ", ".join(f"{package} {number}" for package in _PACKAGES if (number := _version(package)))
    yield (
        f"{fingerprint.machine()['cpu']}, one thread, one text, in turn with float32 on onnxruntime. Ratios "
        "are those of CPU times [95 % interval], milliseconds the ratio times the median of that float32. The "
        "simulation is the torch module with the rounded numbers that the plan says. torch is eager; compiled it is "
        f"`target.compile: true`. {versions}."
    )
    yield from ("", "CUDA was not measured: no GPU was at hand.")
    for reason in absent.values():
        yield from ("", f"Not measured: {reason}.")


def _summary(what: str, rows: dict[str, Rows]) -> Iterator[str]:
    measured = [row for those in rows.values() for row in those.values() if "range" in row]
    yield f"{what} Logits range over {measured[0]['range']:.1f}." if measured else what


def _reference_ms(rows: dict[str, Rows], tokens: str) -> float:
    """The median over all rows: the machine drifts."""
    every = [row["reference_ms"][tokens] for those in rows.values() for row in those.values() if "ratio" in row]
    return median(every) if every else math.nan


def _line(recipe: str, runtime: str, r: dict[str, Any], reference_ms: dict[str, float]) -> str:
    if "not_applicable" in r:
        return f"| {recipe} | {runtime} | not applicable: {r['not_applicable']}{' |' * 10}"
    times = [
        f"{reference_ms[n] * r['ratio'][n][0]:.1f} | {'{:.2f} [{:.2f}, {:.2f}]'.format(*r['ratio'][n])}"
        for n in _LENGTHS
    ]
    return (
        f"| {recipe} | {runtime} | {' | '.join(times)} | {r['size_mb']:.1f} | "
        f"{r['error']:.3f} | {r['agreement']:.3f} | {r['simulated_error']:.4f} | {r['simulated_agreement']:.3f} | "
        f"{format(r['score'], '.3f') if 'score' in r else ''} |"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
