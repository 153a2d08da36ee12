from __future__ import annotations

import pytest

from autocompress.space.recipe import Recipe


def recipe(*steps: str | dict[str, object]) -> Recipe:
    return Recipe.load([{step: {}} if isinstance(step, str) else step for step in steps])  # type: ignore[misc]


def test_equal_recipes_have_equal_keys_and_others_do_not() -> None:
    assert recipe("layers", "finetune").key == recipe({"layers": {"keep": 0.5}}, "finetune").key
    assert recipe("layers", "finetune").key != recipe("finetune", "layers").key
    assert recipe({"finetune": {"lr": 1e-4}}).key != recipe({"finetune": {"lr": 2e-4}}).key


def test_shape_keys_ignore_training_knobs_only() -> None:
    assert recipe({"finetune": {"lr": 1e-4}}).shape_key == recipe({"finetune": {"lr": 2e-4}}).shape_key
    assert recipe({"layers": {"keep": 0.5}}).shape_key != recipe({"layers": {"keep": 0.25}}).shape_key
    assert recipe("soft_labels", "finetune").shape_key != recipe("finetune").shape_key, "it may not apply"


def test_what_is_trained_ends_before_the_tail_of_lowerings() -> None:
    whole = recipe("layers", "finetune", {"int8_dynamic": {"exclude": "first_last"}})
    assert whole.trained == recipe("layers", "finetune")
    assert whole.trained.key == recipe("layers", "finetune", "int8_dynamic").trained.key
    assert recipe("int8_dynamic", "finetune").trained == recipe("int8_dynamic", "finetune")
    assert recipe("int8_dynamic").trained == Recipe()


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (("layers", "soft_labels", "finetune", "int8_dynamic"), None),
        (("int8_dynamic", "finetune"), None),
        (("int8_dynamic", "layers"), "layers comes after int8_dynamic: shapes are final once a precision is chosen"),
        (("finetune", "soft_labels"), "soft_labels needs a later finetune: it only acts while that one trains"),
        (
            ("l0_gates", "neurons", "finetune"),
            "neurons comes after l0_gates: what that trains is fitted to the shapes the model has, until a finetune is "
            "done with it",
        ),
        (("l0_gates", "finetune", "neurons", "finetune"), None),
        (("lora", "magnitude", "finetune"), None),
        (("int8_dynamic", "int8_dynamic"), "int8_dynamic stands twice: a tensor has one precision"),
    ],
)
def test_orders_that_cannot_work_say_why(steps: tuple[str, ...], fault: str | None) -> None:
    assert recipe(*steps).fault() == fault
