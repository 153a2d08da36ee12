"""The teacher's fine-tuning: until its score stops rising, then down from its best epoch; the better of both stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import context, fresh, tiny, toy
from tiny_project import SPACE
from torch import Tensor, nn

from autocompress.errors import ConfigError
from autocompress.methods import context as contexts
from autocompress.methods.early_stopping import CEILING, EarlyStopping
from autocompress.methods.training.finetune import AutoFinetune, Finetune
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.study import Study
from autocompress.trials import work

EPOCH = 3  # steps


class Watching(contexts.Course):
    """Keeps the weights and the rate after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self.rates: list[float] = []

    def stepped(self, training: contexts.Training, loss: float) -> None:
        assert isinstance(training, EarlyStopping)
        self.training = training
        self.weights.append(flat(training.model))
        self.rates.append(training.optimizer.param_groups[0]["lr"])


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def scored(*scores: float) -> Callable[[nn.Module], float]:
    """One after the other; then 0."""
    left = list(scores)
    return lambda model: left.pop(0) if left else 0.0


def run(*scores: float, course: contexts.Course | None = None) -> tuple[nn.Module, Watching]:
    watching = Watching()
    ctx = context(tiny(), course=course or watching, score=scored(*scores))
    return AutoFinetune(batch_size=32, lr=1e-2).apply(tiny(), ctx), watching


def test_it_ends_when_the_score_has_not_risen_for_two_epochs_and_cools_down_from_the_best() -> None:
    model, seen = run(0.5, 0.7, 0.7, 0.6, 0.8)
    assert len(seen.rates) == 5 * EPOCH, "four epochs and one of cooling down"
    assert seen.rates == pytest.approx([1e-2] * 4 * EPOCH + [1e-2, 1e-2 * 2 / 3, 1e-2 / 3])
    assert torch.equal(seen.weights[4 * EPOCH - 1], seen.weights[2 * EPOCH - 1]), "the second epoch was the best"
    assert torch.equal(flat(model), seen.weights[-1])


def test_if_cooling_down_makes_it_worse_the_best_epoch_stays() -> None:
    model, seen = run(0.5, 0.7, 0.7, 0.6, 0.65)
    assert torch.equal(flat(model), seen.weights[2 * EPOCH - 1])


def test_a_score_that_goes_on_rising_ends_at_the_ceiling() -> None:
    _, seen = run(*(i / 100 for i in range(1, CEILING + 2)))
    assert len(seen.rates) == (CEILING + 1) * EPOCH
    assert seen.training.steps == (CEILING + 1) * EPOCH


def test_put_aside_at_any_step_and_taken_up_is_as_if_nothing_had_been() -> None:
    scores = (0.5, 0.7, 0.7, 0.6, 0.8)
    whole, _ = run(*scores)
    for at in (1, EPOCH, 2 * EPOCH + 1, 4 * EPOCH, 4 * EPOCH + 2):
        torch.manual_seed(at)

        class Stopping(Watching):
            def stepped(self, training: contexts.Training, loss: float) -> None:
                if training.step == at:  # noqa: B023
                    self.state = {name: tensor.clone() for name, tensor in training.state().items()}
                    raise KeyboardInterrupt

        class Going(Watching):
            def begins(self, training: contexts.Training) -> None:
                training.restore(first.state, at)  # noqa: B023

        first = Stopping()
        with pytest.raises(KeyboardInterrupt):
            run(*scores, course=first)
        again, _ = run(*scores[at // EPOCH :], course=Going())
        assert torch.equal(flat(again), flat(whole)), at


def test_a_number_of_epochs_is_that_many_and_goes_down_to_nothing() -> None:
    steps: list[int] = []
    ctx = context(tiny(), course=contexts.Course(lambda step, *_: steps.append(step)), score=scored(0.9))
    Finetune(epochs=3, batch_size=32).apply(fresh(tiny()), ctx)
    assert len(steps) == 3 * EPOCH == 3 * len(toy()) / 32


@pytest.mark.parametrize("steps", ["finetune: {epochs: auto}", "finetune: {epochs: [2, auto]}"])
def test_a_trial_may_not_train_for_as_long_as_it_likes(steps: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE.split("anchors:")[0] + f"steps:\n  - {steps}\n")
    with pytest.raises(ConfigError) as error:
        SearchSpace.load(file)
    assert str(error.value).partition(": ")[2] == (
        "finetune.epochs: only the teacher may have 'auto', for trials are compared after equal training. "
        "Got 'auto'. Write a number."
    )
    with pytest.raises(ConfigError, match="only the teacher may have 'auto'"):
        AutoFinetune().apply(tiny(), context(tiny()))


def test_no_recipe_holds_it_and_it_is_no_method_of_its_own() -> None:
    from autocompress.space.method import methods

    assert methods()["finetune"] is Finetune
    assert Recipe.load([{"finetune": {"epochs": 3}}])[0] == Finetune(epochs=3)


def test_the_teacher_of_a_search_is_trained_so_where_no_epochs_are_named(project: Path) -> None:
    project.write_text(
        SPACE.replace("{epochs: 4, lr: 1e-2, freeze_embeddings: false}", "{lr: 1e-2, freeze_embeddings: false}")
    )
    bench = work.bench_of(Study.create(project).data)
    steps: list[tuple[int, int]] = []
    bench.teach(lambda step, of, loss: steps.append((step, of)))
    assert bench.scorer.epoch(bench.teacher.model) > 0.95
    assert steps[0] == (1, 84)
    assert steps[-1][0] == steps[-1][1] < 84
    assert "epochs auto" in bench.notes[-1]
