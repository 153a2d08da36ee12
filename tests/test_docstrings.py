"""The builtin task: balanced, masked, without duplicates, made once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from autocompress.errors import ConfigError
from autocompress.tasks.data import docstrings, sources

Splits = dict[str, docstrings.Labelled]


@pytest.fixture(scope="module")
def splits() -> Splits:
    """The real thing, extracted from the installed libraries: seconds, so once for all tests here."""
    return docstrings.build()


@pytest.mark.slow
def test_every_split_is_balanced(splits: Splits) -> None:
    for split, count in docstrings.PER_LIBRARY.items():
        assert Counter(label for _, label in splits[split]) == dict.fromkeys(sources.LIBRARIES, count)


@pytest.mark.slow
def test_no_text_occurs_twice(splits: Splits) -> None:
    keys = [re.sub("[^a-z]", "", text.lower()) for rows in splits.values() for text, _ in rows]

    assert len(keys) == len(set(keys))


@pytest.mark.slow
def test_texts_are_short_and_masked(splits: Splits) -> None:
    texts = [text for rows in splits.values() for text, _ in rows]

    assert {len(text.split()) for text in texts} <= set(range(8, 33))
    assert not [text for text in texts for name in sources.LIBRARIES if name in text.lower()]


@pytest.mark.slow
def test_the_first_rows_are_a_fair_sample(splits: Splits) -> None:
    counts = Counter(label for _, label in splits["train"][:500])

    assert min(counts.values()) >= 25
    assert len(counts) == len(sources.LIBRARIES)


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        (
            "A copy of pd.Series\nwith a new index, as SQLAlchemy",
            "A copy of library.Series with a new index, as library",
        ),
        ("Save a :class:`~torch.nn.Module` and *all* of its parts", "Save a library.nn.Module and all of its parts"),
        ("Fit scikit-learn sklearn models to the given data now", "Fit library models to the given data now"),
        ("Read every line of the file at once.\n\nArgs:\n  file: a path", "Read every line of the file at once."),
        ("A first line.\n\nThen a second paragraph of prose.", "A first line. Then a second paragraph of prose."),
        ("word " * 50, ("word " * 32).strip()),
        ("Too short to say anything.", None),
        (">>> f(1) and seven more words that are code here", None),
        ("(c) one two three four five six seven eight", None),
        ("", None),
    ],
)
def test_opening(docstring: str, text: str | None) -> None:
    assert docstrings.opening(docstring) == text


def _library(root: Path, name: str, texts: list[str]) -> None:
    """An importable package whose import would fail: it is to be read, not run."""
    (root / name / "tests").mkdir(parents=True)
    (root / name / "__init__.py").write_text("raise RuntimeError('imported')\n")
    functions = [f"def f{i}():\n    '''{text}'''\n" for i, text in enumerate(texts)]
    (root / name / "code.py").write_text("".join(functions))
    (root / name / "broken.py").write_text("this is no Python")
    (root / name / "tests" / "test_code.py").write_text("'''A docstring of the tests, which is not to be used.'''")


_WORDS = ["one", "two", "three", "four", "five", "six", "seven"]
_SHARED = "This sentence stands in both of the two libraries."


@pytest.fixture
def two_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("firstlib", "secondlib"):
        _library(tmp_path, name, [_SHARED, *(f"What {word} does in {name} is told in many words." for word in _WORDS)])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "LIBRARIES", {"firstlib": "numpy", "secondlib": "torch"})
    monkeypatch.setattr(docstrings, "PER_LIBRARY", {"test": 1, "validation": 2, "train": 4})


@pytest.mark.usefixtures("two_libraries")
def test_shared_texts_and_tests_are_left_out() -> None:
    splits = docstrings.build()
    rows = [row for split in ("train", "validation", "test") for row in splits[split]]

    told = [
        [f"What {word} does in {name} is told in many words.", name] for name in sources.LIBRARIES for word in _WORDS
    ]
    assert sorted(rows) == sorted(told)
    assert docstrings.build() == splits


@pytest.mark.usefixtures("two_libraries")
def test_they_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = docstrings.load()
    monkeypatch.setattr(docstrings, "build", lambda: pytest.fail("made again"))

    assert docstrings.load() == made


@pytest.mark.usefixtures("two_libraries")
def test_another_version_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    docstrings.load()
    monkeypatch.setattr(sources.metadata, "version", lambda name: "another")
    monkeypatch.setattr(docstrings, "build", lambda: {"train": [["made", "again"]]})

    assert docstrings.load() == {"train": [["made", "again"]]}


@pytest.mark.usefixtures("two_libraries")
def test_too_few_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "PER_LIBRARY", {"test": 1, "validation": 2, "train": 5})

    with pytest.raises(ConfigError) as error:
        docstrings.load()
    assert str(error.value) == (
        "task.data: builtin/docstrings needs 8 docstrings of each library. Got 7 of firstlib. "
        "Its sources may not be installed: reinstall numpy."
    )


def test_a_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LIBRARIES", {"pandas": "pandas", "nosuchlib": "nosuchlib"})

    with pytest.raises(ConfigError) as error:
        docstrings.load()
    assert str(error.value) == (
        "task.data: builtin/docstrings needs the libraries pandas, nosuchlib. "
        "Got no nosuchlib. Reinstall autocompress with its dependencies."
    )
