"""Draw a study's front: autocompress trials STUDY --json | python docs/draw_front.py OUT.svg"""

from __future__ import annotations

import json
import sys

from matplotlib import pyplot, rcParams

rcParams["svg.fonttype"] = "none"  # text stays text


def main() -> None:
    trials = [t for t in json.load(sys.stdin) if t["score"] is not None]
    kinds = {
        "baseline": ([t for t in trials if t["number"] < 0], "black", "s"),
        "on the front": ([t for t in trials if t["front"] and t["number"] >= 0], "tab:green", "o"),
        "feasible": ([t for t in trials if t["feasible"] and not t["front"] and t["number"] >= 0], "tab:blue", "o"),
        "over a limit": ([t for t in trials if not t["feasible"]], "lightgrey", "o"),
    }
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for kind, (members, colour, marker) in kinds.items():
        size = [6 * t["size_mb"] for t in members]
        x, y = [t["latency_ms"] for t in members], [t["score"] for t in members]
        axes.scatter(x, y, s=size, c=colour, marker=marker, alpha=0.8, label=kind, edgecolors="white")
    said = set()  # recipes that differ in a tail's knobs alone lie side by side
    for t in trials:
        if t["front"] and t["number"] >= 0:
            named = {name: knobs for step in t["recipe"] for name, knobs in step.items()}
            named.pop("finetune", None)
            text = " + ".join(n + (f" {k['keep']:.2g}" if "keep" in k else "") for n, k in named.items()) or "finetune"
            if text in said:
                continue
            said.add(text)
            axes.annotate(text, (t["latency_ms"], t["score"]), (6, -10), textcoords="offset points", fontsize=7)
    axes.set_xlabel("latency (ms)")
    axes.set_ylabel("validation score")
    axes.set_title("area = size of the model file", fontsize=9)
    for handle in axes.legend(fontsize=8).legend_handles:
        handle.set_sizes([40])
    figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
