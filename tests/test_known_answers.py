"""What the mathematics of methods must give, computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import context, fresh, tiny, toy
from torch import Tensor, nn

from autocompress.methods.attention.sequence_length import SequenceLength
from autocompress.methods.decomposition.kronecker import nearest
from autocompress.methods.decomposition.weighted_low_rank import pair
from autocompress.methods.distillation.attention_maps import divergence
from autocompress.methods.distillation.patient import Patient
from autocompress.methods.distillation.relations import relations
from autocompress.methods.gates import BETA, GAMMA, ZETA, Gating, HardConcrete, Lagrangian
from autocompress.methods.mask_tuning import solved
from autocompress.methods.pruning.blocks import cheapest
from autocompress.methods.pruning.fisher_masks import rearranged
from autocompress.methods.pruning.obs import Obs, lost
from autocompress.methods.pruning.vocabulary import nearest_rows
from autocompress.methods.sparsity import most_in_each, prune
from autocompress.methods.unit_gradients import unit_gradients
from autocompress.methods.units import chosen, sites
from autocompress.methods.weight_gradients import squared_gradients
from autocompress.models.attentions.block_sparse import BlockPattern
from autocompress.models.attentions.linear import LinearPattern
from autocompress.models.attentions.nystrom import NystromPattern, inverse
from autocompress.models.attentions.sliding_window import WindowPattern
from autocompress.models.factored.linears import KroneckerLinear, TensorTrainLinear
from autocompress.models.factored.tables import TensorTrainEmbedding
from autocompress.models.factored.trains import factors_of, train_of
from autocompress.models.forward import Outputs, forward
from autocompress.models.surgery import product
from autocompress.space.method import find
from autocompress.space.recipe import Recipe


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float) -> Tensor:
    """softmax(q kᵀ) v where it is allowed, by the book."""
    scores = (q @ k.transpose(-1, -2) * scale).masked_fill(allowed == 0, -torch.inf)
    return scores.softmax(-1) @ v


# decomposition


def test_kronecker_finds_the_factors_of_a_product() -> None:
    A, B = drawn(2, 3), drawn(4, 5, seed=1)
    layer = nn.Linear(15, 8, bias=False)
    layer.weight.data = torch.kron(A, B)
    with torch.no_grad():
        made = nearest(layer, (2, 3))
    torch.testing.assert_close(made.weight, torch.kron(A, B), rtol=0, atol=1e-5)


def test_kronecker_is_van_loans_best_and_runs_as_its_matrix() -> None:
    layer, x = nn.Linear(6, 4), drawn(3, 6)
    with torch.no_grad():
        made = nearest(layer, (2, 2))
        R = np.stack(
            [layer.weight.numpy()[2 * p : 2 * p + 2, 3 * q : 3 * q + 3].ravel() for p in (0, 1) for q in (0, 1)]
        )
        left_out = math.sqrt((np.linalg.svd(R, compute_uv=False)[1:] ** 2).sum())
        assert float((layer.weight - made.weight).norm()) == pytest.approx(left_out, rel=1e-4)
        torch.testing.assert_close(made(x), x @ made.weight.T + layer.bias)
    assert isinstance(made, KroneckerLinear)


@pytest.mark.parametrize("count", [2, 3])
def test_a_train_of_full_rank_is_the_matrix_and_a_truncated_one_keeps_the_bound(count: int) -> None:
    W = drawn(24, 36)
    outs, ins = factors_of(24, count), factors_of(36, count)
    assert math.prod(outs) == 24
    assert math.prod(ins) == 36
    for rank in (1000, 6):
        cores = train_of(W, outs, ins, rank)
        made = TensorTrainLinear(outs, ins, [core.shape[-1] for core in cores[:-1]], bias=False)
        with torch.no_grad():
            for own, core in zip(made.train_of.cores, cores, strict=True):
                own.copy_(core)
            x = drawn(5, 36, seed=2)
            torch.testing.assert_close(made(x), x @ made.weight.T, rtol=1e-4, atol=1e-4)
            off = float((made.weight - W).norm())
        assert off <= bound(W, outs, ins, rank) * 1.001 + 1e-4


def bound(W: Tensor, outs: list[int], ins: list[int], rank: int) -> float:
    """The root of the squared sum of what each unfolding loses at that rank: Oseledets 2011, theorem 2.2."""
    d = len(outs)
    order = [axis for k in range(d) for axis in (k, d + k)]
    whole, total, size = W.reshape(*outs, *ins).permute(order), 0.0, 1
    for k in range(d - 1):
        size *= outs[k] * ins[k]
        total += float(torch.linalg.svdvals(whole.reshape(size, -1))[rank:].square().sum())
    return math.sqrt(total)


def test_a_train_of_a_table_looks_up_its_rows() -> None:
    rows, widths = factors_of(30, 2, up=True), factors_of(8, 2)
    made = TensorTrainEmbedding(30, rows, widths, [3])
    with torch.no_grad():
        for core in made.train_of.cores:
            core.copy_(drawn(*core.shape))
        ids = torch.arange(30).reshape(5, 6)
        torch.testing.assert_close(made(ids), made.train_of.matrix()[ids], rtol=1e-4, atol=1e-4)


def test_weighted_svd_is_the_best_for_its_weights() -> None:
    layer, X = nn.Linear(12, 10), drawn(12, 40)
    root = torch.linalg.cholesky(X @ X.T)
    with torch.no_grad():
        made, plain = pair(layer, root, 4), pair(layer, torch.eye(12), 4)
        singular = np.linalg.svd((layer.weight @ X).numpy(), compute_uv=False)
    found = float(((layer.weight - made.weight) @ X).norm().detach())
    assert found == pytest.approx(math.sqrt((singular[4:] ** 2).sum()), rel=1e-3)
    assert found <= float(((layer.weight - plain.weight) @ X).norm().detach())


# importance


def test_fisher_is_the_squared_gradient_of_every_text() -> None:
    model = tiny()
    ctx = context(model)
    path = "bert.encoder.layer.1.output.dense"
    found = squared_gradients(model, {path: product(model, path)}, ctx)[path]
    batch, by_hand, seen = ctx.calibration[0], 0, 0
    for batch in ctx.calibration:
        for i in range(len(batch["input_ids"])):
            text = {name: x[i : i + 1] for name, x in batch.items()}
            model.zero_grad()
            ctx.kind.loss(forward(model, text, frozenset({"logits"})).logits, text).sum().backward()
            by_hand, seen = by_hand + product(model, path).weight.grad.square(), seen + 1
    torch.testing.assert_close(found, by_hand / seen, rtol=1e-4, atol=1e-10)


def test_a_units_gradient_is_that_of_a_mask_on_it() -> None:
    model = tiny()
    ctx = context(model)
    site = next(site for site in sites(model) if not site.is_attention)
    found, batch = unit_gradients(model, [site], ctx)[site], ctx.calibration[0]
    mask = torch.ones(len(batch["input_ids"]), 1, site.units, requires_grad=True)
    handle = product(model, site.out).register_forward_pre_hook(lambda m, args: (args[0] * mask,))
    ctx.kind.loss(forward(model, batch, frozenset({"logits"})).logits, batch).sum().backward()
    handle.remove()
    torch.testing.assert_close(found[: len(mask)], mask.grad[:, 0], rtol=1e-3, atol=1e-6)


def test_rearranging_never_loses_more() -> None:
    g_NU = drawn(40, 8) + drawn(40, 1, seed=1)

    def loss(kept: Tensor) -> float:
        gone = torch.ones(8)
        gone[kept] = 0
        return float((g_NU @ gone).square().sum())

    first = g_NU.square().sum(0).topk(4).indices.sort().values
    after = rearranged(first, g_NU)
    assert len(after) == 4
    assert loss(after) <= loss(first)


def test_tuned_masks_are_the_least_squares_solution() -> None:
    Y_NU = drawn(50, 6) + 2  # so that what is lost can be made up for
    index, G_UU = torch.tensor([0, 2, 5]), Y_NU.T @ Y_NU
    root = float((0.01 * G_UU[index][:, index].diagonal().mean()).sqrt())
    A = np.concatenate([Y_NU[:, index].numpy(), root * np.eye(3)])
    b = np.concatenate([Y_NU.sum(1).numpy(), root * np.ones(3)])
    expected = np.linalg.lstsq(A, b, rcond=None)[0].clip(0, 2)
    np.testing.assert_allclose(solved(G_UU, index), expected, rtol=1e-3)
    assert expected.max() > 1.2
    ones = solved(torch.eye(4), torch.arange(4))
    torch.testing.assert_close(ones, torch.ones(4))


def test_the_budget_is_spent_and_no_more() -> None:
    model = tiny()
    found = sites(model)
    kept = chosen({site: drawn(site.units).abs() for site in found}, 0.5)
    spent = sum(len(index) * site.cost for site, index in kept.items())
    whole = sum(site.units * site.cost for site in found)
    assert 0.42 * whole < spent <= 0.5 * whole
    even = chosen({site: torch.ones(site.units) for site in found}, 0.5)
    counts = [len(index) for site, index in even.items() if not site.is_attention]
    assert max(counts) - min(counts) <= 8


def test_the_integer_program_finds_the_best_set() -> None:
    scores, saved = [[0.0, 1.0, 5.0], [0.0, 2.0, 3.0]], [[0.0, 0.2, 0.4], [0.0, 0.2, 0.4]]
    assert cheapest(scores, saved, 0.4) in ([1, 1], [0, 2])
    assert cheapest(scores, saved, 0.2) == [1, 0]
    assert cheapest(scores, saved, 0.5) == [1, 2]
    assert cheapest(scores, saved, 2.0) == [2, 2]


# sparsity


def test_so_many_of_each_group_stay() -> None:
    mask = most_in_each(torch.tensor([[4.0, 1.0, 3.0, 2.0, 9.0]]), 2, 4)
    assert mask.tolist() == [[1, 0, 1, 0, 1]]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_so_many_weights_are_zero(scope: str) -> None:
    model = tiny()
    prune(model, 0.5, scope)
    zeros = [float((product(model, path).weight == 0).float().mean()) for path in LAYERS]
    assert sum(zeros) / len(zeros) == pytest.approx(0.5, abs=0.05)
    assert (max(zeros) - min(zeros) < 0.01) == (scope == "layer")


LAYERS = [f"bert.encoder.layer.{i}.{name}.dense" for i in range(4) for name in ("intermediate", "output")]


@pytest.mark.parametrize("n_m", ["none", "2:4"])
def test_the_surgeon_never_loses_more_than_magnitude(n_m: str) -> None:
    W, X = drawn(8, 16), drawn(16, 64) * torch.linspace(0.1, 3, 16)[:, None]
    H, obs = X @ X.T, Obs(sparsity=0.5, n_m=n_m)
    pruned = obs.pruned(W, H)
    kept, group = (2, 4) if n_m != "none" else (0, 0)
    by_size = W * obs._mask(W.abs(), kept, group)
    assert float((pruned == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert lost(W - pruned, H) < lost(W - by_size, H)


def test_zeros_stay_zero_through_a_training() -> None:
    model = tiny()
    ctx = context(model)
    changed = find("magnitude")(sparsity=0.5).apply(fresh(model), ctx)
    before = product(changed, LAYERS[0]).weight == 0
    changed = find("finetune")(epochs=1, lr=1e-3).apply(changed, ctx)
    after = product(changed, LAYERS[0]).weight == 0
    assert torch.equal(before, after)
    assert 0.4 < float(after.float().mean()) < 0.6


# gates


def test_a_gates_chance_is_how_often_it_is_open() -> None:
    torch.manual_seed(0)
    gate = HardConcrete(3)
    gate.log_alpha.data = torch.tensor([-2.0, 0.0, 2.0])
    gate.train()
    often = torch.stack([(gate() > 0).float() for _ in range(4000)]).mean(0)
    torch.testing.assert_close(gate.chance().detach(), often, rtol=0, atol=0.03)
    by_hand = [1 / (1 + math.exp(-(a - BETA * math.log(-GAMMA / ZETA)))) for a in (-2.0, 0.0, 2.0)]
    torch.testing.assert_close(gate.chance().detach(), torch.tensor(by_hand))


def test_a_budget_pulls_and_is_no_part_of_the_loss() -> None:
    """Its value climbs until the budget is met: as a part of the loss it would be taken for divergence."""

    class Half(Gating):
        def share(self) -> torch.Tensor:
            return self.gates[0].chance().mean()

    gating = Half(keep=0.5, warmup=1.0)
    gating.gates.append(HardConcrete(2))
    gating.step(1.0)
    budget = Lagrangian(gating)
    budget.multipliers.data = torch.tensor([3.0, 7.0])
    nothing = Outputs(torch.zeros(1, 2))
    value = budget({}, nothing, nothing)
    [pull, climb] = torch.autograd.grad(value, [gating.gates[0].log_alpha, budget.multipliers])

    chance = gating.gates[0].chance().detach()
    off = float(chance.mean()) - 0.5
    assert value.item() == 0
    torch.testing.assert_close(pull, (3 + 14 * off) * chance * (1 - chance) / 2)
    torch.testing.assert_close(climb, -torch.tensor([off, off**2]))


# distillation


def test_relations_are_those_of_a_loop() -> None:
    x, mask = drawn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    found = relations(x, 2, mask).exp()
    for b, r in [(0, 0), (1, 1)]:
        a = x[b, :, 4 * r : 4 * r + 4]
        for t in range(5):
            scores = torch.tensor([float(a[t] @ a[u]) / 2 if mask[b, u] else -torch.inf for u in range(5)])
            torch.testing.assert_close(found[b, r, t], scores.softmax(0), rtol=1e-4, atol=1e-6)


def test_divergence_of_equal_maps_is_zero_and_positive_of_others() -> None:
    mask = torch.ones(2, 4).bool()
    p, q = (drawn(2, 3, 4, 4, seed=s).softmax(-1) for s in (0, 1))
    assert float(divergence(p, p, mask)) == pytest.approx(0, abs=1e-6)
    by_hand = (q * (q.log() - p.log())).sum(-1).mean()
    assert float(divergence(p, q, mask)) == pytest.approx(float(by_hand), rel=1e-4)


def test_patience_with_oneself_costs_nothing() -> None:
    model = tiny()
    ctx = context(model)
    Patient().apply(model, ctx)
    batch = ctx.calibration[0]
    given = forward(model, batch, frozenset({"logits", "hidden_states"}))
    assert float(ctx.losses[0](batch, given, given)) == pytest.approx(0, abs=1e-9)


# attention


def around(tokens: int, window: int, first: int) -> Tensor:
    """(T, T): 1 where a token is attended to."""
    i = torch.arange(tokens)
    near = (i[:, None] - i).abs() <= window
    return (near | (i < first) | (i[:, None] < first)).float()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("window", "first"), [(2, 0), (3, 1), (50, 0)])
def test_a_window_is_its_dense_mask(window: int, first: int, causal: bool) -> None:
    q, k, v = (drawn(2, 2, 11, 4, seed=s) for s in range(3))
    seen = torch.ones(2, 11)
    seen[1, 8:] = 0
    allowed = around(11, window, first) * seen[:, None, None]
    if causal:
        allowed = allowed * torch.ones(11, 11).tril()
    found = WindowPattern(window, first)(q, k, v, seen, 0.5, causal)
    torch.testing.assert_close(found[:, :, :8], dense(q, k, v, allowed, 0.5)[:, :, :8], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("drawn_blocks", [0, 2])
def test_blocks_are_their_dense_mask(drawn_blocks: int, causal: bool) -> None:
    q, k, v = (drawn(1, 2, 22, 4, seed=s) for s in range(3))
    block, first = 4, 1
    n = -(-22 // block)
    reads = torch.zeros(n, n)
    for i in range(n):
        ones = {i, max(0, i - 1), min(n - 1, i + 1), 0, *[(i * p + p) % n for p in (7, 13)[:drawn_blocks]]}
        reads[i, list(ones)] = 1
    reads[:first] = 1
    allowed = reads.repeat_interleave(block, 0).repeat_interleave(block, 1)[:22, :22]
    if causal:
        allowed = allowed * torch.ones(22, 22).tril()
    found = BlockPattern(block, first, drawn_blocks)(q, k, v, torch.ones(1, 22), 0.5, causal)
    torch.testing.assert_close(found, dense(q, k, v, allowed, 0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", ["elu", "relu", "taylor"])
@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_is_that_of_its_kernel(features: str, causal: bool) -> None:
    q, k, v = (drawn(1, 2, 70, 4, seed=s) for s in range(3))
    pattern = LinearPattern(features)
    weights = pattern._mapped(q * 0.5**0.5) @ pattern._mapped(k * 0.5**0.5).transpose(-1, -2)
    weights = weights.tril() if causal else weights
    expected = weights @ v / weights.sum(-1, keepdim=True)
    torch.testing.assert_close(pattern(q, k, v, torch.ones(1, 70), 0.5, causal), expected, rtol=1e-3, atol=1e-4)


def test_taylor_comes_to_softmax_where_scores_are_small() -> None:
    q, k, v = (drawn(1, 2, 9, 4, seed=s) for s in range(3))
    found = LinearPattern("taylor")(q * 0.05, k, v, torch.ones(1, 9), 0.5, False)
    torch.testing.assert_close(found, dense(q * 0.05, k, v, torch.ones(9, 9), 0.5), rtol=0, atol=5e-4)


def test_nystrom_comes_to_softmax_with_a_landmark_for_every_token() -> None:
    q, k, v = (drawn(1, 2, 8, 4, seed=s) for s in range(3))
    found = NystromPattern(8)(q, k, v, torch.ones(1, 8), 0.5, False)
    torch.testing.assert_close(found, dense(q, k, v, torch.ones(8, 8), 0.5), rtol=0, atol=0.05)
    A = torch.eye(5) + 0.1 * drawn(5, 5)
    torch.testing.assert_close(inverse(A.abs()), torch.linalg.inv(A.abs()), rtol=0, atol=1e-2)


# tables and texts


def test_a_dropped_token_reads_the_row_most_like_its_own() -> None:
    W = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 2.0]])
    assert nearest_rows(W, torch.tensor([0, 1])).tolist() == [0, 1, 0, 1]


def test_texts_are_cut_where_most_of_them_end() -> None:
    model = tiny()
    changed = SequenceLength(percentile=25.0).apply(fresh(model), context(model))
    assert changed.truncation.tokens == 8
    batch = toy(8).batch([6])
    with torch.no_grad():
        short = {name: x[:, :8] for name, x in batch.items() if name not in ("labels", "index")}
        whole = {name: x for name, x in batch.items() if name not in ("labels", "index")}
        torch.testing.assert_close(changed(**whole).logits, model(**short).logits)


# orders


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("layers", "student", "finetune"), "puts another model in the place"),
        (("cross_layer", "heads"), "share cannot be cut"),
        (("movement",), "needs a later finetune"),
        (("int8_dynamic", "kronecker"), "shapes are final"),
    ],
)
def test_an_order_that_cannot_work_says_why(names: tuple[str, ...], said: str) -> None:
    assert said in str(Recipe(find(name)() for name in names).fault())


def test_a_gradual_pruning_waits_for_a_training() -> None:
    assert Recipe([find("magnitude")(schedule="cubic")]).fault()
    assert Recipe([find("magnitude")()]).fault() is None
