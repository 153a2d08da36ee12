from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.errors import ConfigError
from autocompress.machine import cache, entries, eviction

Build = Callable[[Path], None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


def writes(text: str, log: list[str] | None = None) -> Build:
    def build(draft: Path) -> None:
        if log is not None:
            log.append(text)
        (draft / "inner").mkdir()
        (draft / "weights").write_text(text)
        (draft / "inner" / "more").write_text(text)

    return build


def make(key: str, size: int = 1, kind: str = "prefixes") -> Path:
    """An entry of so many kilobytes that nobody uses any more."""
    with cache.lease():
        return cache.folder(kind, key, lambda draft: (draft / "weights").write_bytes(bytes(size * 1000)) and None)


def keys(kind: str = "prefixes") -> list[str]:
    return sorted(entry.place.stem for entry in eviction.entries(kind))


def other_process(code: str) -> subprocess.Popen[str]:
    """A process that runs `code` with `cache`, `Path`, `sys` and `time` at hand."""
    head = "import sys, time; from pathlib import Path; from autocompress.machine import cache\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_folder_is_built_once() -> None:
    built: list[str] = []
    first, second = (cache.folder("teachers", "abc", writes("1", built)) for _ in range(2))
    assert first == second
    assert (first / "weights").read_text() == "1"
    assert built == ["1"]


def test_a_build_that_fails_leaves_nothing() -> None:
    def build(draft: Path) -> None:
        (draft / "half").write_text("1")
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.folder("teachers", "abc", build)
    assert sorted(p.name for p in (cache.cache_root() / "teachers").iterdir()) == ["CACHEDIR.TAG", "abc.lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        (draft / "half").write_text("1")
        Path("/dev/full").write_text("1")

    with pytest.raises(OSError) as caught:
        cache.folder("teachers", "abc", build)
    assert caught.value.errno == errno.ENOSPC
    assert eviction.entries() == []
    assert sorted(p.name for p in (cache.cache_root() / "teachers").iterdir()) == ["CACHEDIR.TAG", "abc.lock"]


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


@pytest.mark.parametrize(
    "damaged", ["", '{"size_mb": 1.5}', '["size_mb"]', '{"value": {"size_mb": 1.6}, "sha256": "0"}']
)
def test_a_damaged_value_is_computed_again(damaged: str) -> None:
    cache.value("shapes", "k", lambda: {"size_mb": 1.5})
    file = cache.cache_root() / "shapes" / "k.json"
    whole = file.read_text()
    for text in (damaged, whole[:-3], whole.replace("1.5", "1.6")):
        file.write_text(text)
        assert cache.value("shapes", "k", lambda: {"size_mb": 2.5}) == {"size_mb": 2.5}


def test_the_first_answer_is_what_later_ones_are() -> None:
    first, second = (cache.value("shapes", "k", lambda: {"pair": (1, 2)}) for _ in range(2))
    assert first == second == {"pair": [1, 2]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "inner" / "more").unlink(),
        lambda place: (place / "weights").write_text("12"),
        lambda place: (place / "manifest.json").unlink(),
        lambda place: (place / "manifest.json").write_text("{"),
        lambda place: (place / "manifest.json").write_text("[]"),
    ],
    ids=["missing", "longer", "no manifest", "half a manifest", "another manifest"],
)
def test_a_damaged_entry_is_built_again(damage: Callable[[Path], None]) -> None:
    place = cache.folder("teachers", "abc", writes("1"))
    damage(place)
    built: list[str] = []
    assert cache.folder("teachers", "abc", writes("2", built)) == place
    assert cache.folder("teachers", "abc", writes("3", built)) == place
    assert built == ["2"]
    assert (place / "weights").read_text() == (place / "inner" / "more").read_text() == "2"
    assert sorted(p.name for p in place.parent.iterdir()) == ["CACHEDIR.TAG", "abc", "abc.lock"]


def test_wrong_bytes_are_found_by_the_next_process() -> None:
    place = make("abc")
    (place / "weights").write_bytes(b"\1" * 1000)
    code = "cache.folder('prefixes', 'abc', lambda draft: (draft / 'weights').write_text('new')); print('built')"
    with other_process(code) as process:
        assert said(process) == "built"
    assert (place / "weights").read_text() == "new"


def test_what_was_not_used_for_the_longest_time_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE_GB", "1e-5")  # 10 kB
    for key in "abc":
        make(key, 2)
    make("a", 2)
    make("d", 4)
    assert keys() == ["a", "c", "d"]


def test_a_value_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.value("shapes", "k", lambda: {"size_mb": 1.5})
    monkeypatch.setenv("AUTOCOMPRESS_CACHE_GB", "1e-6")
    make("a", 1)
    assert keys("shapes") == []


def test_what_was_just_built_stays_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE_GB", "0")
    with cache.lease():
        first = cache.folder("prefixes", "a", writes("1"))
        second = cache.folder("prefixes", "b", writes("1"))
        assert first.exists()
        assert second.exists()
    make("c")
    assert keys() == ["c"]


@pytest.mark.parametrize("wrong", ["many", "-1", "inf", "nan"])
def test_a_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE_GB", wrong)
    with pytest.raises(ConfigError) as caught:
        make("a")
    rule = "it should be a number of gigabytes such as 20 or 0.5"
    assert str(caught.value) == f"AUTOCOMPRESS_CACHE_GB: {rule}. Got {wrong!r}."


def test_what_another_process_uses_stays_until_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    place = make("a")
    code = "cache.folder('prefixes', 'a', None); print('used', flush=True); sys.stdin.read()"
    with other_process(code) as process:
        assert said(process) == "used"
        assert cache.clear() == 0
        assert place.exists()
        process.kill()
    size = sum(file.stat().st_size for file in place.iterdir())
    assert cache.clear() == size
    assert not place.exists()


def test_what_is_under_construction_stays() -> None:
    code = """
def build(draft):
    (draft / 'weights').write_text('1')
    print('begun', flush=True)
    sys.stdin.readline()
cache.folder('prefixes', 'a', build)
print('built', flush=True)
sys.stdin.readline()
"""
    with other_process(code) as process:
        assert said(process) == "begun"
        make("b")
        cache.clear()
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        assert said(process) == "built"
        assert keys() == ["a"]
        process.kill()


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    code = f"""
def build(draft):
    with Path({str(tmp_path / "log")!r}).open('a') as log:
        log.write('built ')
    time.sleep(0.3)
    (draft / 'weights').write_text('1')
print('ready', flush=True)
sys.stdin.readline()
print((cache.folder('prefixes', 'a', build) / 'weights').read_text(), flush=True)
"""
    with other_process(code) as one, other_process(code) as other:
        assert [said(one), said(other)] == ["ready", "ready"]
        for process in (one, other):
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        assert [said(one), said(other)] == ["1", "1"]
    assert (tmp_path / "log").read_text() == "built "


def test_a_killed_builder_leaves_nothing_that_counts() -> None:
    code = """
def build(draft):
    (draft / 'weights').write_text('half')
    print('begun', flush=True)
    sys.stdin.read()
cache.folder('prefixes', 'a', build)
"""
    with other_process(code) as process:
        assert said(process) == "begun"
        process.send_signal(signal.SIGKILL)
    folder = cache.cache_root() / "prefixes"
    assert any(p.name.startswith(".a.") for p in folder.iterdir())
    assert keys() == []
    make("b")  # sweeps
    assert sorted(p.name for p in folder.iterdir()) == ["CACHEDIR.TAG", "a.lock", "b", "b.lock"]
    assert (cache.folder("prefixes", "a", writes("whole")) / "weights").read_text() == "whole"


def test_a_small_file_is_swept_when_nobody_can_be_writing_it() -> None:
    folder = entries.kind_folder("shapes")
    old, new = folder / ".k.json.01234567", folder / ".k.json.76543210"
    old.touch()
    new.touch()
    os.utime(old, (0, time.time() - 2 * 3600))
    cache.clear()
    assert [new.exists(), old.exists()] == [True, False]


def test_what_a_study_took_survives_eviction(tmp_path: Path) -> None:
    with cache.lease():
        entry = cache.folder("prefixes", "a", writes("1"))
        cache.take(entry, tmp_path / "study" / "model")
    own = tmp_path / "study" / "model"
    assert (own / "weights").stat().st_ino == (entry / "weights").stat().st_ino
    manifest = (entry / "manifest.json").stat().st_size
    assert cache.clear() == manifest, "the disk does not get back what the study keeps"
    assert not entry.exists()
    assert sorted(str(p.relative_to(own)) for p in own.rglob("*")) == ["inner", "inner/more", "weights"]
    assert (own / "weights").read_text() == (own / "inner" / "more").read_text() == "1"


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    entry = cache.folder("prefixes", "a", writes("1"))
    cache.take(entry, tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_text() == "1"
    assert (tmp_path / "model" / "weights").stat().st_ino != (entry / "weights").stat().st_ino


def test_usage_counts_by_kind_the_largest_first() -> None:
    make("a", 1)
    make("b", 2)
    make("t", 9, kind="teachers")
    cache.value("shapes", "k", lambda: {"size_mb": 1.5})
    rows = cache.usage()
    assert [(row.kind, row.entries) for row in rows] == [("teachers", 1), ("prefixes", 2), ("shapes", 1)]
    assert [row.bytes // 1000 for row in rows] == [9, 3, 0]
    assert all(time.time() - 60 < row.oldest_use <= row.newest_use <= time.time() for row in rows)


def test_clearing_one_kind_leaves_the_others() -> None:
    make("a")
    make("t", kind="teachers")
    assert cache.clear("prefixes") > 1000
    assert [keys("prefixes"), keys("teachers")] == [[], ["t"]]


def test_what_is_not_ours_is_never_taken_away() -> None:
    """`AUTOCOMPRESS_CACHE` may name a folder that holds other things."""
    photo = cache.cache_root() / "photos" / "2020" / "photo"
    photo.parent.mkdir(parents=True)
    notes = [photo, cache.cache_root() / "photos" / "notes.json", cache.cache_root() / "prefixes" / "mine" / "notes"]
    notes[2].parent.mkdir(parents=True)
    for note in notes:
        note.write_text("mine")
    make("a")
    cache.clear()
    eviction.make_room(0)
    assert [note.read_text() for note in notes] == ["mine"] * 3
    assert keys() == []


def test_files_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        (draft / "weights").touch(mode=0o600)

    cache.write_folder(tmp_path / "out", build)
    (tmp_path / "plain").touch()
    assert (tmp_path / "out" / "weights").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o500 == 0o500


@pytest.mark.parametrize("home", ["/proc/self/nohome", ""])
def test_without_a_home_to_write_to_one_sentence_says_what_to_set(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.delenv("AUTOCOMPRESS_CACHE")
    monkeypatch.setenv("HOME", home)
    if not home:  # a container's user that /etc/passwd does not know
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(ConfigError) as caught:
        cache.folder("teachers", "abc", writes("1"))
    said = "the cache has no folder, because this user has no home."
    if home:
        said = f"{home}/.cache/autocompress/teachers: the cache cannot be written there (No such file or directory)."
    assert str(caught.value) == f"{said} Set AUTOCOMPRESS_CACHE to a folder that can be written."
    with pytest.raises(ConfigError):
        cache.value("shapes", "abc", dict)


def test_a_cache_of_another_user_that_may_only_be_read_answers_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    place = make("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert cache.folder("prefixes", "old", writes("1")) == place
    with pytest.raises(ConfigError, match=r"the cache cannot be written there \(Permission denied\)"):
        cache.folder("prefixes", "new", writes("1"))


def test_a_cache_that_is_far_from_full_is_not_looked_through_after_every_build(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, entries = [], eviction.entries
    monkeypatch.setattr(eviction, "entries", lambda *kind: looked.append(1) or entries(*kind))
    for i in range(5):
        make(str(i), size=10)
    assert len(looked) == 1
    monkeypatch.setenv("AUTOCOMPRESS_CACHE_GB", "0.000045")  # 45 kB
    make("5", size=10)
    assert len(looked) == 2
    assert keys() == ["2", "3", "4", "5"]
    looked.clear()
    monkeypatch.setattr(eviction, "_LOOK_AGAIN", 0.0)
    make("6", size=1)
    assert len(looked) == 1, "other processes add to it, too"


def test_the_locks_of_what_is_gone_are_deleted_unless_somebody_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("old").parent
    for name in ("gone", "held"):
        entries.builder_lock(folder / name).acquire().lock.release()
    with entries.builder_lock(folder / "held"):
        cache.clear()
        assert sorted(p.name for p in folder.iterdir()) == ["CACHEDIR.TAG", "held.lock"]
    make("new")
    assert (folder / "held.lock").exists(), "not yet: somebody may be about to lock it"
    cache.clear("prefixes")
    assert sorted(p.name for p in folder.iterdir()) == ["CACHEDIR.TAG"]
