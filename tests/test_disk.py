"""A full disk pauses whatever writes, in one sentence; what was written stays, and the same command goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_project import make_project

import autocompress
from autocompress.engine import progress
from autocompress.engine.optuna.database import Database
from autocompress.errors import Paused
from autocompress.machine import cache, disk
from autocompress.models import storage
from autocompress.runtimes.onnxruntime.runtime import OnnxRuntime
from autocompress.study import Study

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "model.onnx")
SQLITE_FULL = sqlite3.OperationalError("database or disk is full")


def wrapped(cause: Exception) -> Exception:
    """As a library raises it that has an error of its own."""
    try:
        raise RuntimeError("it could not be saved") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NO_SPACE, "No space left on device: model.onnx"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "[Errno 122] Disk quota exceeded"),
        (wrapped(SQLITE_FULL), "database or disk is full"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (RuntimeError("a line\nwrite failed: No space left on device (os error 28)"), "write failed: No space left on"),
        (OSError(errno.EACCES, "Permission denied"), ""),
        (RuntimeError("out of memory"), ""),
    ],
    ids=str,
)
def test_it_is_known_by_what_the_library_says(error: Exception, reason: str) -> None:
    assert disk.full(error).startswith(reason)
    assert bool(disk.full(error)) == bool(reason)


WRITERS = """
import resource, sqlite3, onnx, torch
from safetensors.torch import save_file
from autocompress.machine import disk

def by_safetensors():
    save_file({"w": torch.zeros(9000)}, "w.safetensors")

def by_onnx():
    weights = onnx.helper.make_tensor("w", 1, [9000], bytes(36000), raw=True)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [weights])), "m.onnx")

def by_python():
    with open("t", "wb") as file:
        file.write(bytes(99_999))

def by_sqlite():
    sqlite3.connect("s.db").executescript("create table t (x); insert into t values (randomblob(99999));")

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for write in (by_safetensors, by_onnx, by_python, by_sqlite):
    try:
        write()
    except Exception as error:
        print(write.__name__, disk.full(error))
"""


def test_the_libraries_say_it_in_words_that_are_known(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that is full."""
    done = subprocess.run([sys.executable, "-c", WRITERS], cwd=tmp_path, capture_output=True, text=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert list(said) == ["by_safetensors", "by_onnx", "by_python", "by_sqlite"], done.stderr
    assert all("File too large" in words or "disk" in words for words in said.values()), said


def test_a_library_that_says_nothing_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unclear(draft: Path) -> None:
        raise RuntimeError("Can't open the stream")

    with pytest.raises(RuntimeError, match="stream"):
        cache.write_folder(tmp_path / "out", unclear)
    whole = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([*whole[:4], 3, *whole[5:]]))
    for build in (unclear, lambda draft: (draft / "cut short").write_text("1")):
        with pytest.raises(OSError, match="No space left on device") as caught:
            cache.write_folder(tmp_path / "out", build)
        assert caught.value.errno == errno.ENOSPC
        assert list(tmp_path.iterdir()) == []


def failing(after: int, error: Exception, whole: Callable[..., Any]) -> Callable[..., Any]:
    """`whole`, until it was called so many times."""
    left = after

    def call(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise error
        return whole(*arguments, **more)

    return call


def facts(study: Study) -> list[Any]:
    return [(t.number, t.state, t.recipe, t.measurement, t.front) for t in study.trials]


@pytest.mark.slow
def test_whatever_a_search_writes_it_pauses_there_and_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One study runs into a full disk at one write after the other; in the end it is as if nothing had been."""
    whole = autocompress.search(project, name="whole", trials=2)
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(project.parent / "another"))
    writes: list[tuple[Any, str, int, Exception]] = [
        (storage, "save", 0, wrapped(NO_SPACE)),  # the teacher
        (OnnxRuntime, "lower", 0, NO_SPACE),  # the baseline
        (cache, "write_json", 1, NO_SPACE),  # study.json
        (Database, "write_note", 0, SQLITE_FULL),  # the anchors
        (storage, "save", 0, NO_SPACE),  # what its training leaves
        (OnnxRuntime, "lower", 0, NO_SPACE),  # its artefact
        (Database, "finish", 0, wrapped(SQLITE_FULL)),  # what became of it
        (Database, "add", 0, SQLITE_FULL),  # the second trial
        (progress, "write", 0, NO_SPACE),
    ]
    for owner, name, after, error in writes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing(after, error, getattr(owner, name)))
            with pytest.raises(Paused, match=r"^the disk is full \(.*\)\. Free some space, then resume$"):
                pytest.fail(f"{name}: {facts(autocompress.search(project, name='parts', trials=2))}")
    resumed = autocompress.search(project, name="parts", trials=2)
    assert facts(resumed) == facts(whole)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_folder", failing(0, NO_SPACE, cache.write_folder))
        with pytest.raises(Paused, match="the disk is full"):
            resumed.export("out")
    assert not Path("out").exists()
    assert resumed.export("out").is_dir()


@pytest.mark.slow
def test_the_command_line_says_one_sentence_and_exits_with_4(tmp_path: Path) -> None:
    make_project(tmp_path)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
    code = limited + "import sys; from autocompress.cli import main; sys.argv[1:] = ['search', 'space.yaml']; main()"
    environment = {"AUTOCOMPRESS_CACHE": str(tmp_path / "cache"), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    *_, how, said = done.stderr.splitlines()
    assert how == "  autocompress resume space"
    assert said.startswith("the disk is full (")
    assert said.endswith("Free some space, then resume")
