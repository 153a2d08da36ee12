"""What benchmarks.methods has found as a table: each method against the same recipe without it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from autocompress.space.method import methods
from benchmarks.methods_spaces import LONG, SHORT, teaches

RESULTS = Path(__file__).resolve().parent / "results"
WITHOUT = {"tied_embeddings": "MiniLM writes no tokens: it has no second table to tie"}


def state(tokens: int, seed: int, what: str) -> Path:
    """Where what is done is kept."""
    (RESULTS / "methods").mkdir(exist_ok=True)
    return RESULTS / "methods" / f"{what}-{tokens}-{seed}.json"


def table() -> list[dict[str, Any]]:
    rows = []
    for tokens in (SHORT, LONG):
        seeds = [json.loads(file.read_text()) for file in sorted((RESULTS / "methods").glob(f"score-{tokens}-*.json"))]
        fast = state(tokens, 0, "latency")
        speed = json.loads(fast.read_text()) if fast.exists() else {}
        for name in dict.fromkeys(name for seed in seeds for name in seed):
            pairs = [(seed[name], seed[name]["alone"]) for seed in seeds if name in seed]
            gains = [one["score"] - alone["score"] for one, alone in pairs]
            rows.append({
                "tokens": tokens, "method": name, "seeds": len(pairs),
                "score": statistics.mean(gains), "spread": statistics.stdev(gains) if len(gains) > 1 else None,
                "speedup": speed.get(name, {}).get("speedup"),
                "size": statistics.mean(one["size_mb"] / alone["size_mb"] for one, alone in pairs),
                "archive": statistics.mean(one["archive_mb"] / alone["archive_mb"] for one, alone in pairs),
                "pays_in": list(methods()[name].pays),
            })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], about: str) -> str:
    head = (
        "| tokens | method | pays in | score | speedup | size | archive | seeds |\n|---|---|---|---|---|---|---|---|\n"
    )
    lines = [
        f"| {r['tokens']} | `{r['method']}` | {', '.join(r['pays_in'])} | {r['score']:+.3f}"
        + (f" ± {r['spread']:.3f}" if r["spread"] is not None else "")
        + (f" | {r['speedup']:.2f}x" if r["speedup"] else f" | {'as without' if teaches(r['method']) else 'not yet'}")
        + f" | {r['size']:.2f} | {r['archive']:.2f} | {r['seeds']} |"
        for r in rows
    ]
    lines += [
        f"| | `{name}` | {', '.join(methods()[name].pays)} | {reason} | | | | |" for name, reason in WITHOUT.items()
    ]
    return f"{about}\n\n{head}" + "\n".join(lines) + "\n"


def write(about: str) -> None:
    (RESULTS / "methods.md").write_text(markdown(table(), f"{about} Against the same recipe without it."))
    print((RESULTS / "methods.md").read_text(), flush=True)
