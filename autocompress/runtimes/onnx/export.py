"""From a torch module to an ONNX graph: `torch.onnx.export` by tracing (1 to 3 s where the dynamo exporter takes 16).

Its node names carry module paths, which is how a precision plan finds its nodes.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from autocompress.models.decoders.decoding import decodes
from autocompress.models.students.layers import read_whole
from autocompress.runtimes import label_names
from autocompress.runtimes.onnx.decoder import Traced, decoder
from autocompress.runtimes.onnx.reshapes import simplify
from autocompress.runtimes.onnx.transposes import fold
from autocompress.tasks.dataset import Batch, inputs

OPSET = 17  # the first with LayerNormalization as one node


class _Logits(nn.Module):
    """Positional inputs in, bare logits out: what the exporter traces."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self._names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self._names, tensors, strict=True))).logits
        return logits.float()


def export(model: nn.Module, batch: Batch, path: Path) -> dict[str, str]:
    """Trace `model` with free batch and length axes.

    Returns the modules that ran: every path of each -> its first path. (A shared module has several.)
    """
    traced, inside = decoder(model, batch) if decodes(model) else _whole(model, batch), read_whole(model)
    with quiet(), _PlainAttention(), _recorded(model) as ran, torch.no_grad():
        torch.onnx.export(
            traced.module.eval(), tuple(traced.given.values()), str(path), dynamo=False,
            input_names=list(traced.given), output_names=traced.gives, dynamic_axes=traced.axes, opset_version=OPSET,
            do_constant_folding=not inside,  # a recurrence's weights keep their names, and runtimes fold on loading
        )  # fmt: skip
    graph = simplify(onnx.load(path, load_external_data=False))
    graph = fold(graph) if inside else graph
    onnx.helper.set_model_props(graph, label_names.write(model))
    onnx.save(graph, path)
    first = {module: name for name, module in model.named_modules()}
    first |= _twins(model, inside)
    return {name: first[m] for name, m in model.named_modules(remove_duplicate=False) if m in ran}


def _twins(model: nn.Module, inside: set[str]) -> dict[nn.Module, str]:
    """Of the modules at these paths: the first path that has the same weight, by whose name the graph knows it."""
    first: dict[object, str] = {}
    return {
        module: first.setdefault(module.weight, path)
        for path, module in model.named_modules() if path in inside and isinstance(module, nn.Linear)
    }  # fmt: skip


def _whole(model: nn.Module, batch: Batch) -> Traced:
    """One forward pass."""
    names = list(inputs(batch))
    free = {0: "batch", 1: "tokens"}
    axes = dict.fromkeys(names, free) | {"logits": free if _by_token(model, batch) else {0: "batch"}}
    return Traced(_Logits(model, names), {name: batch[name] for name in names}, ["logits"], axes)


@torch.no_grad()
def _by_token(model: nn.Module, batch: Batch) -> bool:
    """Whether it has an answer for every token, and not one for a text."""
    one = {name: tensor[:1] for name, tensor in inputs(batch).items()}
    logits: Tensor = model.eval()(**one).logits
    return logits.ndim > 2


def path_of(node: str) -> str:
    """The module that a node was traced in, by its name: "/model/encoder/query/MatMul" -> "encoder.query"."""
    return ".".join(node.split("/")[2:-1])


@contextmanager
def _recorded(model: nn.Module) -> Iterator[set[nn.Module]]:
    """The modules that run inside this block."""
    ran: set[nn.Module] = set()
    handles = [m.register_forward_pre_hook(lambda module, args: ran.add(module)) for m in model.modules()]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


class _PlainAttention(TorchFunctionMode):
    """Trace attention as what it is: two products and a softmax, for any model that calls torch's function.

    The exporter's own translation adds a guard against rows without a token (IsNaN, Where) over every score and scales
    q and k apart; it refuses grouped queries. onnxruntime's MultiHeadAttention and Attention kernels were no faster.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = attention if func is F.scaled_dot_product_attention else func
        return call(*args, **(kwargs or {}))


def attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(q kᵀ · scale + mask) v, as `torch.nn.functional.scaled_dot_product_attention` without dropout.

    A masked score is the least float, not -inf: a row that sees no token is an average and not NaN.
    """
    if enable_gqa:
        repeats = int(q_BHTK.shape[1]) // int(k_BHTK.shape[1])
        k_BHTK, v_BHTK = (x.repeat_interleave(repeats, dim=1) for x in (k_BHTK, v_BHTK))
    scores_BHTT = q_BHTK @ k_BHTK.transpose(-1, -2) * (scale or 1 / math.sqrt(int(q_BHTK.shape[-1])))
    if is_causal:
        attn_mask = torch.ones_like(scores_BHTT[:1, :1], dtype=torch.bool).tril()
    if attn_mask is not None:
        least = torch.finfo(scores_BHTT.dtype).min
        added = (~attn_mask).to(scores_BHTT.dtype) * least if attn_mask.dtype == torch.bool else attn_mask
        scores_BHTT = scores_BHTT + added
    return scores_BHTT.softmax(-1) @ v_BHTK


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter warns about what is known here: it traces, and an opset that is not the newest."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
