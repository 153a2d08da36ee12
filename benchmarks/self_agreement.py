"""How well can a runtime agree with the simulation of 8-bit inputs? python -m benchmarks.self_agreement

As well as the simulation with itself, once what its layer norms and GELUs give is multiplied with 1 + 10^-6 · N(0, 1),
as the float32 work of a runtime is off a little everywhere: a number next to the middle between two codes then gets
the other one, and that moves others in every later layer. MiniLM of `precisions`, 400 validation texts, every two of
five such simulations; beside it, a runtime with the simulation as it is and with the four that are moved. Writes
benchmarks/results/self_agreement.md.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from autocompress.methods.context import Context
from autocompress.space.method import find
from benchmarks.precisions import RESULTS, agreement, reached, runtime_logits, torch_logits
from benchmarks.precisions_models import LENGTHS, RECIPES, Subject, minilm

ROWS = (
    ("int8_dynamic", "onnxruntime"),
    ("int8_dynamic, one scale for all weights", "onnxruntime"),
    ("int8_dynamic, one scale a batch", "onnxruntime"),
    ("int8_static minmax", "onnxruntime"),
    ("int8_static minmax, smooth 0.5", "onnxruntime"),
    ("int8_static entropy", "openvino"),
    ("qat, 1 epoch", "openvino"),
    ("low_rank 0.5, 3 epochs + int8_dynamic", "onnxruntime"),
)
TIMES, MOVED = 5, 1e-6


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        subject, rows = minilm(Path(place)), []
        for name, runtime in ROWS:
            rows.append(row(f"{name} | {runtime}", *agreements(subject, name, runtime)))
            print(rows[-1], flush=True)
    (RESULTS / "self_agreement.md").write_text("\n".join([*HEAD, *rows, ""]))


HEAD = [
    "# How far the simulation of 8-bit inputs agrees with itself", "",
    f"The share of 400 texts with the same label, mean [least, most], and how far logits are apart (root mean square; "
    f"they range over 6.4): every two of {TIMES} simulations, one as it is and the others with layer norms and GELUs "
    f"moved by {MOVED:g}, and the runtime with each of them.", "",
    "| precision | runtime | simulation with itself | logits apart | runtime with the simulation | logits apart |",
    "|---|---|---|---|---|---|",
]  # fmt: skip


def agreements(subject: Subject, name: str, runtime_name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """The logits (N, C) of the simulations, and those of the runtime."""
    target, runtime = reached(runtime_name)
    torch.manual_seed(0)
    ctx = Context(subject.teacher, subject.calibration, target, subject.train)
    model = copy.deepcopy(subject.teacher.model)
    for method, knobs in RECIPES[name]:
        model = find(method)(**knobs).apply(model, ctx)
    with tempfile.TemporaryDirectory(dir=subject.folder) as folder:
        runtime.lower(model, ctx.precision, subject.texts[LENGTHS[-1]], Path(folder))
        ran_NC = runtime_logits(runtime.open(Path(folder), target), subject.validation)
    simulated = []
    for seed in range(TIMES):
        simulation: Any = runtime.simulate(model, ctx.precision)
        if seed:
            move(simulation, seed)
        simulated.append(torch_logits(simulation, subject.validation))
    return simulated, ran_NC


def move(model: nn.Module, seed: int) -> None:
    """Multiply what its layer norms and GELUs give with numbers next to 1."""
    noise = torch.Generator().manual_seed(seed)

    def hook(module: nn.Module, args: Any, x: Tensor) -> Tensor:
        return x * (1 + MOVED * torch.randn(x.shape, generator=noise))

    for module in model.modules():
        if isinstance(module, nn.LayerNorm | GELUActivation):
            module.register_forward_hook(hook)


def row(name: str, simulated: list[np.ndarray], ran_NC: np.ndarray) -> str:
    cells = []
    for pairs in (list(itertools.combinations(simulated, 2)), [(ran_NC, one_NC) for one_NC in simulated]):
        same = [agreement(*pair) for pair in pairs]
        cells.append(f"{np.mean(same):.4f} [{min(same):.4f}, {max(same):.4f}]")
        cells.append(f"{np.mean([np.sqrt(np.square(one - other).mean()) for one, other in pairs]):.3f}")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
