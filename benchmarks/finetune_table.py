"""What `finetune.py` says of its runs."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any

import torch

TENTHS, ERRORS = 10, 3.0  # parts of a loss curve; standard errors that they may lie apart
BARS = {"": 1.5, " + distillation": 2.0}


def tenths(losses: list[float]) -> list[float]:
    """The mean loss of every tenth of the training."""
    cuts = [min(round(i * len(losses) / TENTHS), len(losses) - 1) for i in range(TENTHS)] + [len(losses)]
    return [statistics.mean(losses[a : max(b, a + 1)]) for a, b in pairwise(cuts)]


def distance(rows: dict[str, Any], more: str) -> float:
    """The largest difference of both mean curves, in standard errors of a tenth over the seeds (of all, pooled)."""
    mine, yours = (torch.tensor(rows[f"{who}{more}"]["curves"]) for who in ("ours", "Trainer"))
    if len(mine) < 2:
        return 0.0
    error = ((mine.var(0).mean() + yours.var(0).mean()) / len(mine)).sqrt()
    return float((mine.mean(0) - yours.mean(0)).abs().max() / error)


def bars(found: dict[str, Any]) -> list[tuple[str, bool]]:
    out = []
    for more, least in BARS.items():
        ratio, apart = statistics.mean(found["ratios"][more]), found["curve_distance"][more]
        out.append((f"ours{more}: {ratio:.2f} times the Trainer's examples a second: {least:g}", ratio >= least))
        out.append((f"ours{more}: losses at most {apart:.1f} standard errors apart: {ERRORS:g}", apart <= ERRORS))
    return out


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = [
        "# Fine-tuning", "",
        f"{found['model']}, {found['texts']} short texts, {found['epochs']} epochs, {found['machine']['cpu']}, "
        f"{found['threads']} threads, whose products come to {found['billion_multiply_adds_per_second']:.0f} billion "
        "multiply-adds a second. The mean of the seeds [lowest, highest]. The teacher's answers to all texts took us "
        f"{found['teacher_answers_seconds']:.1f} s, once a study.", "",
        "| | examples a second | utilisation | last loss | accuracy |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in found["rows"].items():
        last = [curve[-1] for curve in row["curves"]]
        lines.append(
            f"| {name} | {spread(row['examples_per_second'], '.0f')} | {row['utilisation']:.0%} | "
            f"{spread(last, '.3f')} | {spread(row['accuracy'], '.3f')} |"
        )
    lines += ["", *(f"- ratio{more}: {spread(ratios, '.2f')}" for more, ratios in found["ratios"].items())]
    return "\n".join([*lines, *(f"- {'met' if met else 'MISSED'}: {bar}." for bar, met in bars(found)), ""])


def spread(values: list[float], form: str) -> str:
    return f"{statistics.mean(values):{form}} [{min(values):{form}}, {max(values):{form}}]"
