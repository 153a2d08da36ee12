"""What a million rows take: memory in each process, and that two processes tokenise them once.

    python -m benchmarks.rows [--rows 1000000]      prints one table, writes benchmarks/results/rows.json

Made-up texts of about 64 tokens of `builtin/minilm`. A process reads the table, tokenises the training split or finds
it in the cache, and goes through 200 shuffled batches. `peak` is its largest resident memory less the file pages that
it shares (a mapped cache entry belongs to all). Bar: 2,000 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
MOST_MB = 2000
WORDS = ["tree", "river", "stone", "cloud", "house", "light", "green", "small", "walks", "sings", "old", "road"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--read", action="store_true", help="be the process that is measured")
    asked = parser.parse_args()
    if asked.read:
        print(json.dumps(read()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), asked.rows)
        environment = os.environ | {"AUTOCOMPRESS_CACHE": f"{folder}/cache", "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-m", "benchmarks.rows", "--read"]
        found = []
        for _ in range(2):
            ran = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            found.append(json.loads(ran.stdout))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rows.json").write_text(json.dumps({"rows": asked.rows, "processes": found}, indent=1) + "\n")
    print(f"| {asked.rows:,} rows | peak MB | read s | tokenise s | 200 batches s |\n| --- | --- | --- | --- | --- |")
    for name, one in zip(("first process", "second"), found, strict=True):
        print(f"| {name} | {one['peak_mb']:.0f} | {one['read']:.1f} | {one['tokenise']:.1f} | {one['batches']:.1f} |")
    once = found[1]["tokenise"] < found[0]["tokenise"] / 3
    return 0 if once and all(one["peak_mb"] < MOST_MB for one in found) else 1


def write(folder: Path, rows: int) -> None:
    rng = random.Random(0)
    for split, count in (("train", rows), ("validation", 1000), ("test", 1000)):
        with (folder / f"{split}.csv").open("w") as file:
            file.write("text,label\n")
            for row in range(count):
                file.write(f"{' '.join(rng.choices(WORDS, k=rng.randint(40, 80)))},{row % 3}\n")


def read() -> dict[str, float]:
    from autocompress.models import loading
    from autocompress.space.settings import TaskSettings
    from autocompress.tasks.task import Task

    tokenizer = loading.load_tokenizer(loading.locate("builtin/minilm", Path()))
    loaded = resident_mb()
    marks = [time.perf_counter()]
    data = {split: f"{split}.csv" for split in ("train", "validation", "test")}
    task = Task.load(TaskSettings(data=data), tokenizer, 0, Path())
    marks.append(time.perf_counter())
    examples = task.train
    marks.append(time.perf_counter())
    for i, _ in enumerate(examples.batches(32, seed=1)):
        if i == 200:
            break
    marks.append(time.perf_counter())
    took = [after - before for before, after in pairwise(marks)]
    seconds = dict(zip(("read", "tokenise", "batches"), took, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak - shared_mb() - loaded, **seconds}


def resident_mb() -> float:
    return status("RssAnon")


def shared_mb() -> float:
    return status("RssFile")


def status(name: str) -> float:
    """Megabytes of this process, as Linux tells them."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
