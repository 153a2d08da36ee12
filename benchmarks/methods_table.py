"""What benchmarks.methods has found as a table: each method against the same recipe without it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from autocompress.report.method_cards import FAMILIES
from autocompress.space.method import methods
from benchmarks.methods_spaces import LONG, LONGER, SHORT, Setting, teaches

RESULTS = Path(__file__).resolve().parent / "results"
INTRODUCTION = """\
`benchmarks/methods.py`: each method alone at its default on `builtin/minilm`, against the same recipe without it.
Score: accuracy on validation texts, the mean difference and its standard deviation over the seeds. Latency: so many
times faster, and the 95 % interval; size, archive: so many times smaller. What teaches changes no shape (*as without*),
and is measured on half the layers, beside half the layers alone. One epoch is little for what is cut deeply or begins
anew: the second table has eight."""
WHAT = {
    SHORT: "Sentiment of film reviews' snippets: 1,000 to train on, for one epoch; ONNX Runtime, one thread, one text.",
    LONG: "Topics of joined news articles: 320 to train on, for one epoch; ONNX Runtime, one thread, one text.",
    LONGER: "As above, with eight epochs, which the finetune without the method has too.",
}
TITLES = {SHORT: "Texts of 64 tokens", LONGER: "A longer training", LONG: "Texts of 512 tokens"}
WITHOUT = {
    SHORT: {"tied_embeddings": "MiniLM writes no tokens: it has no second table to tie"},
    LONG: {"sequence_length": "three of four texts fill all 512 tokens: it cuts at their 75th percentile"},
}


def state(what: str) -> Path:
    """Where what is done is kept: `score-TOKENS-SEED`, `latency-TOKENS`."""
    (RESULTS / "methods").mkdir(exist_ok=True)
    return RESULTS / "methods" / f"{what}.json"


def read(what: str) -> dict[str, Any]:
    """What is kept, or nothing."""
    file = state(what)
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def rows_of(setting: Setting) -> list[dict[str, Any]]:
    """Every method's mean over the seeds, against the same recipe without it; the speedup is over the finetune."""
    files = sorted((RESULTS / "methods").glob(f"score-{setting.name}-*.json"))
    seeds = [json.loads(file.read_text()) for file in files]
    speedups, rows = read(f"latency-{setting.tokens}").get("speedup", {}), []
    for name in dict.fromkeys(name for seed in seeds for name in seed):
        pairs = [(seed[name], seed[name]["alone"]) for seed in seeds if name in seed]
        gains = [one["score"] - alone["score"] for one, alone in pairs]
        rows.append({
            "method": name, "family": methods()[name].family, "pays_in": list(methods()[name].pays),
            "seeds": len(pairs), "score": statistics.mean(gains),
            "spread": statistics.stdev(gains) if len(gains) > 1 else None, "speedup": speedups.get(name),
            "size": statistics.mean(alone["size_mb"] / one["size_mb"] for one, alone in pairs),
            "archive": statistics.mean(alone["archive_mb"] / one["archive_mb"] for one, alone in pairs),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (FAMILIES.index(row["family"]), row["method"]))


def line(row: dict[str, Any]) -> str:
    unlike = "as without" if teaches(row["method"]) else "not yet"
    cells = [
        f"`{row['method']}`", ", ".join(row["pays_in"]),
        f"{row['score']:+.3f}" + (f" ± {row['spread']:.3f}" if row["spread"] is not None else ""),
        "{speedup:.2f}x ({speedup_low:.2f}-{speedup_high:.2f})".format(**row["speedup"]) if row["speedup"] else unlike,
        f"{row['size']:.2f}x", f"{row['archive']:.2f}x", str(row["seeds"]),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def section(setting: Setting) -> str:
    """The table of one setting, with the machine and the day of its latencies."""
    timed = read(f"latency-{setting.name}")
    where = f" Latencies: {timed['machine']}, {timed['date']}." if timed else ""
    lines = [
        f"### {TITLES[setting]}", "", f"{WHAT[setting]}{where}", "",
        "| method | pays in | score | latency | size | archive | seeds |", "|---|---|---|---|---|---|---|",
        *map(line, rows_of(setting)),
    ]  # fmt: skip
    lines += [f"| `{name}` | {reason} | | | | | |" for name, reason in WITHOUT.get(setting, {}).items()]
    return "\n".join(lines) + "\n"


def write() -> None:
    lines = ["## Measured", "", INTRODUCTION, "", *map(section, TITLES)]
    (RESULTS / "methods.md").write_text("\n".join(lines))
    print((RESULTS / "methods.md").read_text(), flush=True)
