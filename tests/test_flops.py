"""What a model takes besides time, against what can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import context, every_family, fresh, tiny, toy
from tiny_project import SPACE
from torch import Tensor, nn

from autocompress.methods.decomposition.low_rank import LowRank
from autocompress.methods.pruning.heads import Heads
from autocompress.models.factored.linears import LowRankLinear
from autocompress.runtimes.flops import measure_module
from autocompress.runtimes.latency import latency_batch
from autocompress.space.recipe import Recipe
from autocompress.space.settings import Target
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.bench import Bench

B, T = 3, 12
LAYERS, D, NEURONS, C = 4, 32, 64, 3  # of the tiny models
TARGET = Target(batch_size=B, sequence_length=T)


def flops(model: nn.Module) -> float:
    return measure_module(model, latency_batch(toy(), TARGET))["flops"]


def by_hand(width: int = D) -> int:
    """Of one text whose heads have `width` dimensions in all: four projections, scores and mixtures, two linears."""
    layer = T * 4 * D * width + 2 * T * T * width + T * 2 * D * NEURONS
    head = D * D + D * C  # of the first token alone
    return 2 * (LAYERS * layer + head)


@every_family
def test_flops_are_two_a_multiply_add_of_every_product(family: str) -> None:
    assert flops(tiny(family)) == B * by_hand()


def test_pruned_heads_are_not_multiplied() -> None:
    model = tiny()
    pruned = Heads(keep=0.5).apply(fresh(model), context(model))
    width = [layer.attention.self.query.out_features for layer in pruned.bert.encoder.layer]
    whole = by_hand(0)
    assert flops(pruned) == B * (whole + sum(by_hand(w) - whole for w in width) / LAYERS) < B * by_hand()


def test_a_low_rank_pair_counts_its_two_products() -> None:
    model = tiny()
    factored = LowRank(keep=0.25).apply(fresh(model), context(model))
    saved = sum(
        2 * T * (m.in_features * m.out_features - m.rank * (m.in_features + m.out_features))
        for m in factored.bert.encoder.modules() if isinstance(m, LowRankLinear)
    )  # fmt: skip
    assert saved > 0
    assert flops(factored) == B * (by_hand() - saved)


class Recurrent(nn.Module):
    """What a fused kernel would hide."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True, bidirectional=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.lstm(torch.zeros(*input_ids.shape, 8))[0]


def test_a_recurrent_layer_is_counted_step_by_step() -> None:
    assert flops(Recurrent()) == B * T * 2 * 2 * 4 * 16 * (8 + 16)  # directions, 2 a product, gates


def test_shared_parameters_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
            self.other.weight = self.one.weight

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.other(self.one(torch.zeros(*input_ids.shape, 4)))

    assert measure_module(Tied(), latency_batch(toy(), TARGET))["parameters"] == 16 + 4 + 4


def limited(space: Path, limit: str) -> Study:
    """A tiny study with that limit."""
    space.write_text(SPACE.replace("size_mb <= 0.95 * baseline", limit))
    return Study.create(space)


@pytest.mark.parametrize("asked", [True, False])
def test_memory_is_measured_where_a_goal_speaks_of_it(project: Path, asked: bool) -> None:
    limit = "peak_memory_mb <= 2 * baseline" if asked else "flops <= 0.95 * baseline"
    bench = Bench(limited(project, limit).data)
    bench.lower_baseline()
    sizes = bench.sizes(bench.teacher.model, bench.baseline_folder)
    assert list(sizes) == ["size_mb", "parameters", "flops", *(["peak_memory_mb"] if asked else [])]
    assert all(value > 0 for value in sizes.values())


@pytest.mark.parametrize("asked", [True, False])
def test_the_archive_is_measured_where_a_goal_speaks_of_it(project: Path, asked: bool) -> None:
    limit = "archive_mb <= 2 * baseline" if asked else "flops <= 0.95 * baseline"
    bench = Bench(limited(project, limit).data)
    measured = work.baseline(work.Work(bench, Recipe([]), -1, lambda *_: None)).measurement
    assert (0 < measured.get("archive_mb", 0) < measured["size_mb"]) is asked
