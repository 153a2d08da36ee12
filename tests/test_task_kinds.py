"""A kind of task is a file: one that only this test has, in a folder on the package's path, is found and searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_project import SPACE, make_project

import autocompress
from autocompress.errors import ConfigError
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import task_kinds
from autocompress.tasks import kinds

OWN = '''
"""Texts are classified, and wrong answers count double."""
import numpy as np
from autocompress.tasks.kinds.text_classification import TextClassification

class Strict(TextClassification):
    metrics = ("strictness",)
    model_is = "a strict classifier of"

    def statistics(self, answers, labels):
        right = np.asarray(answers) == np.asarray(labels)
        return np.stack([right, 1 + ~right], axis=1).astype(int)

    def of_sums(self, sums):
        return np.asarray(sums[..., 0] / sums[..., 1])

    def fault(self, answers, labels):
        return ""

    def one_answer(self, answers, labels):
        return 3 / len(labels)
'''


@pytest.fixture
def own_kind(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "strict_classification.py").write_text(OWN)
    kinds.__path__.append(str(folder))
    yield
    kinds.__path__.remove(str(folder))
    kinds.find.cache_clear()


@pytest.mark.usefixtures("own_kind")
def test_a_kind_of_ones_own_can_be_searched(project: Path) -> None:
    assert "strict-classification" in task_kinds()
    make_project(project.parent, SPACE.replace("task:\n", "task:\n  kind: strict-classification\n"))
    study = autocompress.search(project, trials=2)
    assert study.space.task.metric == "strictness"
    assert all(0 <= t.measurement["score"] <= 1 for t in study.front)
    out = study.export("out")
    assert autocompress.pipeline(out)("honey tree")[0]["label"] in ("sour", "sweet")
    assert "a strict classifier of texts" in (out / "README.md").read_text()


def test_kinds_and_metrics_that_are_not_there_are_named(tmp_path: Path) -> None:
    for written, said in (
        (
            "kind: token-clasification",
            "task.kind may not be 'token-clasification'. Did you mean 'token-classification'?",
        ),
        ("metric: entity_f1", "task.metric may not be 'entity_f1'. It may be: accuracy, macro_f1, mcc."),
    ):
        space = make_project(tmp_path, SPACE.replace("task:\n", f"task:\n  {written}\n"))
        with pytest.raises(ConfigError) as error:
            SearchSpace.load(space)
        assert said in str(error.value)
