"""Known answers: what each method must compute, worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import context, every_family, fresh, tiny, toy
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

from autocompress.errors import NotApplicable
from autocompress.methods.attention.sequence_length import SequenceLength
from autocompress.methods.decomposition.low_rank import LowRank, factorize, rank_for
from autocompress.methods.distillation.hidden_states import HiddenStates, mapped
from autocompress.methods.distillation.soft_labels import SoftLabels
from autocompress.methods.importance import rounds_from, taylor
from autocompress.methods.pruning.heads import Heads
from autocompress.methods.pruning.layers import Layers, contributions
from autocompress.methods.pruning.neurons import Neurons
from autocompress.methods.quantization.int8_dynamic import Int8Dynamic
from autocompress.methods.quantization.mixed_precision import _INT8, MixedPrecision, answers, divergence, fisher
from autocompress.models.factored.linears import LowRankLinear
from autocompress.models.families.anatomy import anatomy
from autocompress.models.forward import Outputs, forward
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import simulate
from autocompress.models.surgery import features, linears, product, products
from autocompress.space.method import find
from autocompress.tasks import kinds
from autocompress.tasks.dataset import Batch, inputs


def batch(rows: int = 8) -> Batch:
    return toy(rows).batch(list(range(rows)))


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(**inputs(batch())).logits


# ---- layers


@pytest.mark.parametrize(
    ("strategy", "kept"), [("top", [0, 1]), ("bottom", [2, 3]), ("alternate", [0, 3]), ("contribution", [1, 3])]
)
@every_family
def test_layers_keeps(strategy, kept, family):
    model = tiny(family)
    [stack] = anatomy(model).stacks
    with torch.no_grad():  # layers 0 and 2 barely turn what they get
        for i in (0, 2):
            for path in (anatomy(model).attentions[i].o, anatomy(model).ffns[i].down):
                model.get_submodule(path).weight.mul_(1e-3)
                model.get_submodule(path).bias.mul_(1e-3)
    originals = [layer.state_dict() for layer in model.get_submodule(stack.path)]
    changed = Layers(keep=0.5, strategy=strategy).apply(fresh(model), context(model))
    for layer, i in zip(changed.get_submodule(stack.path), kept, strict=True):
        assert all(torch.equal(v, originals[i][k]) for k, v in layer.state_dict().items())
    assert changed.config.num_hidden_layers == 2


def test_contribution_is_the_angle_and_ignores_padding():
    model, b = tiny(), batch()
    with torch.no_grad():
        states = model(**inputs(b), output_hidden_states=True).hidden_states
    x, y = states[1].numpy(), states[2].numpy()
    cosine = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
    expected = np.arccos(cosine)[b["attention_mask"].numpy() == 1].mean() / np.pi
    assert not b["attention_mask"].all()
    assert contributions(model, anatomy(model).stacks[0], [b])[1].item() == pytest.approx(expected, rel=1e-4)


def test_layers_says_when_it_drops_none():
    with pytest.raises(NotApplicable, match=r"^keep=0.9 of 4 layers drops none$"):
        Layers(keep=0.9).apply(tiny(), context(tiny()))


def test_at_least_one_layer_stays():
    assert len(anatomy(Layers(keep=0.01).apply(tiny(), context(tiny()))).blocks) == 1


# ---- heads and neurons: cutting out equals silencing in the dense model


def silenced(model: nn.Module, site: str, units: Tensor) -> None:
    """Zero the columns that read those units: the dense model's way of doing without them."""
    with torch.no_grad():
        model.get_submodule(site).weight[:, units] = 0


@every_family
@pytest.mark.parametrize("importance", ["taylor", "l2"])
def test_heads_cut_out_equal_heads_silenced(family, importance):
    model, ctx = tiny(family), context(tiny(family))
    changed = Heads(keep=0.5, importance=importance, rounds=1).apply(fresh(model), ctx)
    dense = fresh(model)
    for attention in anatomy(model).attentions:
        before = model.get_submodule(attention.q.path).weight
        after = changed.get_submodule(attention.q.path).weight
        kept = {i for i in range(4) for j in range(2) if torch.equal(before.view(4, 8, -1)[i], after.view(2, 8, -1)[j])}
        gone = torch.tensor([8 * i + k for i in set(range(4)) - kept for k in range(8)])
        assert len(gone) == 16
        silenced(dense, attention.o, gone)
    assert {attention.heads for attention in anatomy(changed).attentions} == {2}
    torch.testing.assert_close(logits(changed), logits(dense), rtol=0, atol=1e-6)


@every_family
@pytest.mark.parametrize("importance", ["taylor", "l2"])
def test_neurons_cut_out_equal_neurons_silenced(family, importance):
    model, ctx = tiny(family), context(tiny(family))
    changed = Neurons(keep=0.5, importance=importance, rounds=1).apply(fresh(model), ctx)
    dense = fresh(model)
    for ffn in anatomy(model).ffns:
        [up] = [into.path for into in ffn.ins]
        after = {row.numpy().tobytes() for row in changed.get_submodule(up).weight.detach()}
        rows = model.get_submodule(up).weight.detach()
        gone = torch.tensor([i for i, row in enumerate(rows) if row.numpy().tobytes() not in after])
        assert len(gone) == 32
        silenced(dense, ffn.down, gone)
    torch.testing.assert_close(logits(changed), logits(dense), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("importance", "rounds"), [("taylor", 1), ("taylor", 4), ("l2", 1)])
def test_silent_units_go_first(importance, rounds):
    """Units that contribute nothing score lowest, so that taking them out changes nothing."""
    model = tiny()
    for block in anatomy(model).blocks:
        silenced(model, block.attentions[0].o, torch.arange(8, 24))  # heads 1 and 2
        silenced(model, block.ffns[0].down, torch.arange(0, 64, 2))
    ctx = context(model)
    changed = Heads(keep=0.5, importance=importance, rounds=rounds).apply(fresh(model), ctx)
    changed = Neurons(keep=0.5, importance=importance, rounds=rounds).apply(changed, ctx)
    torch.testing.assert_close(logits(changed), logits(model), rtol=0, atol=1e-6)


def test_taylor_is_what_the_loss_changes_by_to_first_order():
    """For one text, |a dL/da| is the slope of the loss in the unit's own gate, here by finite differences."""
    model, b = tiny().double(), batch(1)
    path = anatomy(model).attentions[1].o
    [scores_H] = taylor(model, [product(model, path)], [b], [8], kinds.usual())

    def loss(head: int, gate: float) -> float:
        gated = fresh(model)
        with torch.no_grad():
            gated.get_submodule(path).weight[:, 8 * head : 8 * head + 8] *= gate
            return F.cross_entropy(gated(**inputs(b)).logits, b["labels"]).item()

    slopes = [abs(loss(h, 1 + 1e-4) - loss(h, 1 - 1e-4)) / 2e-4 for h in range(4)]
    np.testing.assert_allclose(scores_H.numpy(), slopes, rtol=1e-4)


def test_taylor_adds_up_over_texts_whatever_the_batches():
    model, b = tiny(), toy(8)
    sites = [product(model, ffn.down) for ffn in anatomy(model).ffns]
    whole = taylor(model, sites, list(b.batches(8)), [1] * 4, kinds.usual())
    single = taylor(model, sites, list(b.batches(1)), [1] * 4, kinds.usual())
    for x, y in zip(whole, single, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-6)


def test_rounds_measure_importance_anew():
    model = tiny()
    at_once, gradual = (
        Heads(keep=0.25, rounds=rounds).apply(fresh(model), context(model)).state_dict() for rounds in (1, 3)
    )
    assert any(not torch.equal(at_once[name], gradual[name]) for name in at_once)
    assert rounds_from(12, 3, 4) == [10, 8, 6, 3]


@pytest.mark.parametrize(("keep", "multiple", "width"), [(0.5, 16, 32), (0.4, 8, 24), (0.01, 16, 16), (0.33, 1, 21)])
def test_neurons_width_is_a_multiple(keep, multiple, width):
    changed = Neurons(keep=keep, multiple=multiple).apply(tiny(), context(tiny()))
    assert {features(product(changed, ffn.ins[0].path))[1] for ffn in anatomy(changed).ffns} == {width}
    assert changed.config.intermediate_size == width


def test_heads_and_neurons_say_when_they_remove_none():
    with pytest.raises(NotApplicable, match=r"^keep=0.9 of 4 heads removes none$"):
        Heads(keep=0.9).apply(tiny(), context(tiny()))
    with pytest.raises(NotApplicable, match=r"^keep=0.8 of 64 neurons, in multiples of 32, removes none$"):
        Neurons(keep=0.8, multiple=32).apply(tiny(), context(tiny()))


# ---- low_rank


@pytest.mark.parametrize("shape", [(48, 20), (20, 48), (32, 32)])
def test_low_rank_has_the_least_error_of_its_rank(shape):
    torch.manual_seed(0)
    whole = nn.Linear(shape[1], shape[0])
    pair = factorize(whole, rank := rank_for(whole, 0.5))
    singular = np.linalg.svd(whole.weight.detach().numpy(), compute_uv=False)
    error = (whole.weight - pair.weight).norm().item()
    assert error == pytest.approx(np.sqrt((singular[rank:] ** 2).sum()), rel=1e-5)
    x = torch.randn(3, shape[1])
    torch.testing.assert_close(pair(x), x @ pair.weight.T + whole.bias)
    # one scale in both factors
    torch.testing.assert_close(pair.up.weight.norm(dim=0), pair.down.weight.norm(dim=1))


def test_low_rank_is_exact_where_the_weight_has_that_rank():
    """Directions of no strength at all must not blow up."""
    torch.manual_seed(0)
    whole = nn.Linear(40, 30)
    with torch.no_grad():
        whole.weight.copy_(torch.randn(30, 4) @ torch.randn(4, 40))
    torch.testing.assert_close(factorize(whole, 8).weight, whole.weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("scope", "pairs"), [("all", 24), ("ffn", 8), ("attention", 16)])
@every_family
def test_low_rank_scope_and_share(scope, pairs, family):
    model = tiny(family)
    changed = LowRank(keep=0.5, scope=scope).apply(fresh(model), context(model))
    found = {path: m for path, m in changed.named_modules() if isinstance(m, LowRankLinear)}
    assert len(found) == pairs
    for path, pair in found.items():
        assert path.startswith(anatomy(changed).stacks[0].path)
        share = (pair.up.weight.numel() + pair.down.weight.numel()) / model.get_submodule(path).weight.numel()
        assert 0.4 < share <= 0.5


def test_low_rank_refuses_ranks_that_enlarge():
    assert rank_for(nn.Linear(1, 50), 0.9) == 0
    assert rank_for(nn.Linear(3, 3), 0.5) == 1
    changed = LowRank().apply(tiny(), context(tiny()))
    with pytest.raises(NotApplicable, match=r"^no linear layer in scope 'all' has a smaller pair at keep=0.5$"):
        LowRank().apply(changed, context(tiny()))


# ---- distillation


def test_soft_labels_by_hand():
    student, teacher = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), np.array([[2.0, 1.0, 0.0], [1.0, -1.0, 2.0]])
    T, weight = 3.0, 0.7
    p, q = (np.exp(z / T) / np.exp(z / T).sum(1, keepdims=True) for z in (teacher, student))
    expected = weight * T * T * (p * np.log(p / q)).sum(1).mean()
    ctx = context(tiny())
    SoftLabels(temperature=T, weight=weight).apply(tiny(), ctx)
    outputs = (Outputs(torch.tensor(z)) for z in (student, teacher))
    assert ctx.losses[0]({}, *outputs).item() == pytest.approx(expected)
    assert ctx.losses[0].needs == {"logits"}


@pytest.mark.parametrize(
    ("students", "teachers", "mapping", "expected"),
    [
        (3, 6, "skip", [0, 2, 4, 6]), (4, 6, "skip", [0, 1, 3, 4, 6]), (1, 12, "skip", [0, 12]),
        (3, 6, "last", [0, 4, 5, 6]), (4, 4, "last", [0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_hidden_states_mapping(students, teachers, mapping, expected):
    assert mapped(students, teachers, mapping) == expected


@pytest.mark.parametrize("name", ["hidden_states", "patient", "relations", "attention_maps"])
def test_a_student_that_reads_less_of_a_text_learns_of_what_it_reads(name):
    model = SequenceLength(percentile=10.0).apply(tiny(), context(tiny()))
    ctx = context(tiny())
    find(name)().apply(model, ctx)
    find("finetune")(epochs=1, lr=1e-3).apply(model, ctx)
    assert ctx.losses == []


def test_what_the_teacher_tells_of_first_tokens():
    [batch] = toy(8).batches(8)
    whole = forward(tiny(), batch, frozenset({"hidden_states", "attentions", "q"}))
    first = whole.first(5)
    assert torch.equal(first.logits, whole.logits)
    assert torch.equal(first.hidden_states[2], whole.hidden_states[2][:, :5])
    assert torch.equal(first.q[1], whole.q[1][:, :5])
    assert first.k is None
    seen = whole.attentions[1][:, :, :5, :5]
    torch.testing.assert_close(first.attentions[1], seen / seen.sum(-1, keepdim=True))


def test_hidden_states_refuses_a_deeper_student():
    with pytest.raises(NotApplicable, match=r"^4 layers cannot be mapped to a teacher of only 2$"):
        HiddenStates().apply(tiny(), context(Layers().apply(tiny(), context(tiny()))))


def test_hidden_states_by_hand():
    teacher, student = tiny(), Layers(keep=0.5, strategy="bottom").apply(tiny(), context(tiny()))
    ctx, b = context(teacher), batch()
    HiddenStates(mapping="last", weight=2.0).apply(student, ctx)
    with torch.no_grad():
        outs = [model(**inputs(b), output_hidden_states=True) for model in (student, teacher)]
    mask = b["attention_mask"].bool()
    pairs = [(outs[0].hidden_states[i], outs[1].hidden_states[j]) for i, j in ((0, 0), (1, 3), (2, 4))]
    expected = 2.0 * sum(F.mse_loss(x[mask], y[mask]) for x, y in pairs) / 3
    assert ctx.losses[0](b, *outs).item() == pytest.approx(expected.item(), rel=1e-5)
    assert not list(ctx.losses[0].parameters())


def test_hidden_states_projects_where_widths_differ():
    torch.manual_seed(0)
    wide = BertConfig(vocab_size=60, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_labels=3)
    student, ctx = tiny(), context(BertForSequenceClassification(wide))
    HiddenStates().apply(student, ctx)
    assert [p.shape for p in ctx.losses[0].parameters()] == [(48, 32)]


# ---- int8_dynamic


@pytest.mark.parametrize(("exclude", "planned"), [("none", 26), ("classifier", 24), ("first_last", 12)])
def test_int8_dynamic_plan(exclude, planned):
    model = tiny()
    ctx = context(model)
    Int8Dynamic(exclude=exclude, per_channel=True).apply(model, ctx)
    table = ctx.precision.pop("bert.embeddings.word_embeddings")
    assert table == Precision("int8", per_channel=True)
    assert len(ctx.precision) == planned
    assert set(ctx.precision) <= set(linears(model))
    assert set(ctx.precision.values()) == {Precision("int8", "dynamic_int8", per_channel=True, per_token=True)}
    assert ("classifier" in ctx.precision) == (exclude == "none")
    assert any(".layer.0." in path for path in ctx.precision) == (exclude != "first_last")


def test_int8_dynamic_plans_both_factors_and_no_table_if_told_so():
    ctx = context(tiny())
    Int8Dynamic(embeddings=False).apply(LowRank().apply(tiny(), ctx), ctx)
    assert "bert.encoder.layer.0.output.dense.up" in ctx.precision
    assert "bert.encoder.layer.0.output.dense.down" in ctx.precision
    assert "bert.embeddings.word_embeddings" not in ctx.precision


def test_int8_dynamic_says_when_nothing_is_left():
    shallow = Layers(keep=0.5).apply(tiny(), context(tiny()))
    with pytest.raises(NotApplicable, match=r"^exclude='first_last' leaves no linear layer to quantize$"):
        Int8Dynamic(exclude="first_last").apply(shallow, context(tiny()))


# ---- mixed_precision


def fragile() -> nn.Module:
    """The classifier reads one input that is always 0 with weights so large that all others are rounded to 0."""
    model = tiny()
    with torch.no_grad():
        model.bert.pooler.dense.weight[0] = 0
        model.bert.pooler.dense.bias[0] = 0
        model.classifier.bias[:] = 0  # then a classifier of zeros always answers 0
        model.classifier.weight.mul_(10)
        model.classifier.weight[:, 0] = 1e5
    return model


@pytest.mark.parametrize("measure", [fisher, divergence])
def test_sensitivity_finds_the_fragile_layer(measure):
    model = fragile()
    found = measure(model, list(products(model)), toy(32).batch(list(range(32))), kinds.usual())
    assert max(found, key=found.__getitem__) == "classifier"
    assert min(found.values()) > -1e-8


def test_divergence_by_hand():
    """One layer at a time is rounded, wherever it stands, and put back."""
    model, b = tiny(), batch(8)
    model.bert.encoder.layer[2].output.dense = model.bert.encoder.layer[1].output.dense  # as cross_layer has it
    path = "bert.encoder.layer.1.output.dense"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        p = model(**inputs(b)).logits.log_softmax(-1)
        q = simulate(model, PrecisionPlan({path: _INT8}))(**inputs(b)).logits.log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1).mean().item()
    assert divergence(model, [path], b, kinds.usual())[path] == pytest.approx(expected, rel=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.bert.encoder.layer[2].output.dense is model.bert.encoder.layer[1].output.dense


def test_fisher_by_hand():
    model, b = tiny(), batch(2)
    path = "bert.encoder.layer.1.output.dense"
    expected = 0.0
    for i in range(2):
        weight = model.get_submodule(path).weight
        one = {name: tensor[i : i + 1] for name, tensor in b.items()}
        loss = F.cross_entropy(model(**inputs(one)).logits, one["labels"])
        [gradient] = torch.autograd.grad(loss, [weight])
        scale = weight.abs().amax(1, keepdim=True) / 127
        expected += (gradient * (weight - (weight / scale).round() * scale)).square().sum().item()
    assert fisher(model, [path], b, kinds.usual())[path] == pytest.approx(expected, rel=1e-3)


def test_mixed_precision_keeps_the_fewest_layers_that_must_be_kept():
    model, ctx = fragile(), context(fragile())
    MixedPrecision(drop=0.0, metric="kl").apply(model, ctx)
    kept = {path for path, precision in ctx.precision.items() if precision.weight == "float16"}
    assert "classifier" in kept
    assert len(kept) < len(products(model))
    generous = context(fragile())
    MixedPrecision(drop=0.99).apply(model, generous)
    assert {p.weight for p in generous.precision.values()} == {"int8"}
    labels = answers(model, ctx.calibration, kinds.usual())
    rounded = PrecisionPlan({path: p for path, p in ctx.precision.items() if p.activation == "dynamic_int8"})
    assert answers(simulate(model, rounded), ctx.calibration, kinds.usual()) == labels
