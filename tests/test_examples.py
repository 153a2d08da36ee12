from __future__ import annotations

import torch

from autocompress.tasks.dataset import Examples, inputs

TEXTS = Examples(
    {"input_ids": [[5] * n for n in (3, 9, 4, 8, 2, 7)], "attention_mask": [[1] * n for n in (3, 9, 4, 8, 2, 7)]},
    labels=[0, 1, 2, 0, 1, 2],
    pad={"input_ids": 1, "attention_mask": 0},
)


def test_a_batch_is_padded_to_its_own_longest_text() -> None:
    batch = TEXTS.batch([0, 2])
    assert batch["input_ids"].tolist() == [[5, 5, 5, 1], [5, 5, 5, 5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [0, 2]
    assert set(inputs(batch)) == {"input_ids", "attention_mask"}


def test_every_text_comes_once_and_like_lengths_come_together() -> None:
    batches = list(TEXTS.batches(2, seed=3))
    assert sorted(row for batch in batches for row in batch["index"].tolist()) == list(range(6))
    assert sorted(sorted(len(TEXTS.fields["input_ids"][r]) for r in b["index"].tolist()) for b in batches) == [
        [2, 3], [4, 7], [8, 9]
    ]  # fmt: skip


def test_the_seed_decides_the_order_and_no_seed_keeps_it() -> None:
    def order(seed: int | None) -> list[int]:
        return torch.cat([b["index"] for b in TEXTS.batches(2, seed=seed)]).tolist()

    assert order(None) == list(range(6))
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) > 1


def test_the_batch_that_is_not_full_is_of_any_length_and_comes_at_any_time() -> None:
    found = [list(TEXTS.batches(4, seed=seed)) for seed in range(20)]
    assert {tuple(sorted(len(b["labels"]) for b in batches)) for batches in found} == {(2, 4)}
    places = {[len(b["labels"]) for b in batches].index(2) for batches in found}
    lengths = {tuple(sorted(b["attention_mask"].sum(1).tolist())) for bs in found for b in bs if len(b["labels"]) == 2}
    assert places == {0, 1}
    assert lengths == {(2, 3), (8, 9)}
