from __future__ import annotations

import stat
from pathlib import Path

import pytest

from autocompress import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


def test_a_folder_is_built_once() -> None:
    built = []

    def build(draft: Path) -> None:
        built.append(draft)
        (draft / "weights").write_text("1")

    first, second = (cache.folder("teachers", "abc", build) for _ in range(2))
    assert first == second
    assert (first / "weights").read_text() == "1"
    assert len(built) == 1


def test_a_build_that_fails_leaves_nothing() -> None:
    def build(draft: Path) -> None:
        (draft / "half").write_text("1")
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.folder("teachers", "abc", build)
    assert [p.name for p in (cache.cache_root() / "teachers").iterdir()] == ["abc.lock"]


def test_a_value_is_computed_once_and_a_failure_is_not_remembered() -> None:
    answers = iter([ValueError("not now"), {"size_mb": 1.5}])

    def compute() -> dict[str, float]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="not now"):
        cache.value("shapes", "k", compute)
    assert cache.value("shapes", "k", compute) == cache.value("shapes", "k", compute) == {"size_mb": 1.5}


def test_files_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        (draft / "weights").touch(mode=0o600)

    cache.write_folder(tmp_path / "out", build)
    (tmp_path / "plain").touch()
    assert (tmp_path / "out" / "weights").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o500 == 0o500
