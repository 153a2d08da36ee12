"""What a call of an exported model's pipeline costs beyond tokenising and running.

    python -m benchmarks.call_overhead DIR

The call and its two parts run in turn, so that drift cancels; what is printed is the median of the ratios.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

import autocompress
from autocompress.serving.pipeline import Pipeline

TEXTS = {
    "short": "Return the rows whose index matches.",
    "long": "Compute the eigenvalues of a square matrix and return them in ascending order, normalised. " * 4,
}


def parts(classify: Pipeline, text: str) -> float:
    """Seconds to tokenise with transformers and to run the session, without what lies between."""
    start = time.thread_time()
    encoded = classify.tokenizer(text, truncation=True, max_length=classify.serving.task.max_length)
    tokenised = time.thread_time()
    batch = {name: torch.tensor([numbers]) for name, numbers in encoded.items()}
    ready = time.thread_time()
    classify.session.run(batch)
    return time.thread_time() - ready + tokenised - start


def call(classify: Pipeline, text: str) -> float:
    """Seconds of one answer."""
    start = time.thread_time()
    classify(text)
    return time.thread_time() - start


def main() -> None:
    classify = autocompress.pipeline(sys.argv[1])
    for name, text in TEXTS.items():
        pairs_N2 = np.array([(parts(classify, text), call(classify, text)) for _ in range(400)])[50:]
        milliseconds = np.median(pairs_N2, 0) * 1e3
        overhead = float(np.median(pairs_N2[:, 1] / pairs_N2[:, 0]) - 1)
        print(f"{name}: parts {milliseconds[0]:.3f} ms, call {milliseconds[1]:.3f} ms, overhead {overhead:.1%}")


if __name__ == "__main__":
    main()
