"""What a method holds at its worst besides the model that it is given and the teacher, in copies of that model."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from conftest import context, usual
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autocompress.errors import NotApplicable
from autocompress.methods.context import Course
from autocompress.methods.training.finetune import Finetune
from autocompress.space.method import find, methods

MORE = {  # than one copy, as their cards say; here the widest layer alone is a third of the model
    "obs": 2.4, "weight_only": 1.8, "weighted_low_rank": 2.1, "mixed_precision": 2.0, "rank_gates": 1.8,
    "fisher_masks": 1.2,
    "transfer_set": 1.9,  # what a batch of 64 texts makes of them, no weights
}  # fmt: skip
TRAINS = {"finetune", "assistant", "blocks"}


class Held(TorchDispatchMode):
    """The bytes of all storages that come to be within it, as long as they live; and the most that there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most, self._known = 0, 0, set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in before:
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known or not size:
            return
        self._known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def model() -> nn.Module:
    """Nearly all of it is in its layers, and its weights are more than what a few short texts make of them."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(
        vocab_size=60, hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384,
        max_position_embeddings=16, num_labels=3,
    )).eval()  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in methods() if name not in TRAINS])
def test_it_holds_no_more_than_a_copy(name: str) -> None:
    given = model()
    ctx, method = context(copy.deepcopy(given)), usual(find(name))
    ctx.calibration = [{key: tensor[:2] for key, tensor in ctx.calibration[0].items()}]
    whole = sum(p.numel() * p.element_size() for p in given.parameters())
    try:
        with Held() as held:
            method.apply(given, ctx)
    except NotApplicable:
        return
    assert held.most <= MORE.get(name, 1.05) * whole


class Moments(Course):
    """Counts what the optimizer holds."""

    count = 0

    def stepped(self, training: Any, loss: float) -> None:
        held = [tensor for moments in training.optimizer.state.values() for tensor in moments.values()]
        self.count = sum(tensor.numel() for tensor in held if tensor.dim())


def test_lora_holds_few_moments() -> None:
    """It is what it is for: of two thin matrices beside each, and of norms, biases and the head."""
    counts = []
    for steps in ([], [find("lora")(rank=4)]):
        given = model()
        ctx = context(copy.deepcopy(given))
        ctx.course = course = Moments()
        for method in [*steps, Finetune(epochs=1)]:
            given = method.apply(given, ctx)
        counts.append(course.count)
    assert 0 < counts[1] < counts[0] / 5
