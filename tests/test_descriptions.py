"""The builtin task of pairs: balanced, every description once, no word that tells the labels apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tiny_tables import load

from autocompress.errors import ConfigError
from autocompress.tasks.data import descriptions, sources

Splits = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def splits() -> Splits:
    """The real thing, extracted from the installed libraries: seconds, so once for all tests here."""
    return descriptions.build()


@pytest.mark.slow
def test_every_split_has_as_many_of_either_label(splits: Splits) -> None:
    for split, count in descriptions.PAIRS.items():
        assert Counter(label for _, _, label in splits[split]) == {"fits": count // 2, "other": count // 2}


@pytest.mark.slow
def test_a_description_occurs_once_and_splits_share_none(splits: Splits) -> None:
    told = [description for rows in splits.values() for _, description, _ in rows]
    assert len(told) == len(set(told))


@pytest.mark.slow
def test_words_alone_say_nothing(splits: Splits) -> None:
    """The commonest words of names and of descriptions stand with either label about equally often."""
    for column in (0, 1):
        words = Counter((word, row[2]) for row in splits["train"] for word in set(row[column].lower().split()))
        common = [word for word, _ in Counter(w for w, _ in words.elements()).most_common(10)]
        for word in common:
            share = words[word, "fits"] / (words[word, "fits"] + words[word, "other"])
            assert 1 / 3 < share < 2 / 3


@pytest.mark.parametrize(
    ("name", "docstring", "pair"),
    [
        ("read_csv", "Read a file of :term:`csv`. And more.\n\nArgs:", ("read csv", "Read a file of csv.")),
        ("GaussMixture", "A mixture of\nnormal distributions", ("gauss mixture", "A mixture of normal distributions")),
        ("_private_one", "Read a file of all.", None),
        ("read", "Read a file of all.", None),
        ("read_csv", "Too short.", None),
        ("read_csv", "word " * 17, None),
        ("read_csv", "x = {} says what it is.", None),
        ("read_csv", "", None),
    ],
)  # fmt: skip
def test_described(name: str, docstring: str, pair: tuple[str, str] | None) -> None:
    assert descriptions.described(name, docstring) == pair


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of five functions, which ends in a docstring that stands in both."""
    for file in ("one", "two"):
        said = [f"Does what {word} does to the {file} of them." for word in ("this", "that", "much", "more")]
        functions = [f"def f_{i}():\n    '''{text}'''\n" for i, text in enumerate([*said, "Stands in both of them."])]
        (tmp_path / "onelib").mkdir(exist_ok=True)
        (tmp_path / "onelib" / f"{file}.py").write_text("".join(functions))
    (tmp_path / "onelib" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "LIBRARIES", {"onelib": "numpy"})


@pytest.mark.usefixtures("library")
def test_half_of_a_file_exchange_their_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptions, "PAIRS", {"test": 4, "train": 4})
    splits = descriptions.load()
    for rows in splits.values():
        [file] = {word for _, told, _ in rows for word in ("one", "two") if f" {word} of " in told} or {""}
        assert file
        assert Counter(label for *_, label in rows) == {"fits": 2, "other": 2}
        (first, its, _), (second, whose, _) = [row for row in rows if row[2] == "other"]
        assert first != second
        assert its != whose
    monkeypatch.setattr(descriptions, "build", lambda: pytest.fail("made again"))
    assert descriptions.load() == splits


@pytest.mark.usefixtures("library")
def test_too_few_are_one_sentence() -> None:
    with pytest.raises(ConfigError) as error:
        descriptions.load()
    assert str(error.value) == (
        "task.data: builtin/descriptions needs 2800 described functions. Got 8 in onelib. Their sources may not be "
        "installed: reinstall them."
    )


def test_they_are_read_as_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["read csv", "Read a file.", "fits"], ["set color", "Read a line.", "other"]]
    monkeypatch.setattr(descriptions, "load", lambda: dict.fromkeys(("test", "validation", "train"), rows))
    texts = load(tmp_path, "builtin/descriptions", text=["name", "description"])
    assert texts.labels == ("fits", "other")
    assert sorted(texts.test.texts) == [("read csv", "Read a file."), ("set color", "Read a line.")]
