"""What a model takes besides time and memory: the numbers it holds, and the multiplications of its matrix products."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autocompress.space.goals import Measurement
from autocompress.tasks.dataset import Batch, inputs


def measure_module(model: nn.Module, batch: Batch) -> Measurement:
    """`parameters`: the numbers it holds, shared ones once. `flops`: two for each multiply-add of its matrix products.

    All texts of a latency batch are of one length, so one of them is run and counts as often as there are texts.
    """
    device = next(model.parameters()).device
    text = {name: tensor[:1].to(device) for name, tensor in inputs(batch).items()}
    with torch.no_grad(), unfused(), FlopCounterMode(display=False) as counter:
        model(**text)
    flops = counter.get_total_flops() * len(batch["input_ids"])
    return {"parameters": float(sum(p.numel() for p in model.parameters())), "flops": float(flops)}


@contextmanager
def unfused() -> Iterator[None]:
    """Attention and LSTM as plain matrix products: the counter passes over the CPU's fused kernels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setting oneDNN's flags back speaks of Intel's GPUs
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            yield
