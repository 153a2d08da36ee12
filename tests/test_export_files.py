"""A later export replaces the files that an export wrote, and nothing that a person put beside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.errors import ConfigError
from autocompress.export import files
from autocompress.trials import artefacts
from autocompress.trials.artefacts import LocalArtefacts

AWAY = "Move them away, or give another folder with --to."
CHANGED = "out: it cannot be replaced, because these files in it were added or changed since it was exported: "


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exported folder, seen from the current one."""
    monkeypatch.chdir(tmp_path)
    folder = Path("out")
    (folder / "openvino").mkdir(parents=True)
    for name in ("serving.json", "model.onnx", "openvino/model.xml"):
        (folder / name).write_text(name)
    files.note(folder)
    return folder


def test_what_only_we_wrote_may_be_replaced(out: Path) -> None:
    files.check(out)
    files.check(Path("elsewhere/new"))
    Path("empty").mkdir()
    files.check(Path("empty"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda out: (out / "NOTES.txt").write_text("checked by hand"), "NOTES.txt"),
        (lambda out: (out / "openvino" / "app.cfg").write_text("port: 80"), "openvino/app.cfg"),
        (lambda out: (out / "model.onnx").write_text("tuned by hand"), "model.onnx"),
        (lambda out: (out / "data").symlink_to(out.parent), "data"),
        (lambda out: [(out / f"{i}.txt").touch() for i in range(7)], "0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more"),
    ],
    ids=["a new file", "in a folder of it", "a changed one", "a link", "many"],
)
def test_what_a_person_added_or_changed_is_not_replaced(
    out: Path, change: Callable[[Path], object], named: str
) -> None:
    change(out)
    with pytest.raises(ConfigError) as caught:
        files.check(out)
    assert str(caught.value) == f"{CHANGED}{named}. {AWAY}"


def test_a_folder_whose_files_nobody_noted_is_not_replaced(out: Path) -> None:
    (out / "files.json").unlink()
    with pytest.raises(ConfigError, match="out: it cannot be replaced, because it does not say which of its files"):
        files.check(out)


def test_a_file_is_no_folder(out: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        files.check(out / "model.onnx" / "sub")
    said = "out/model.onnx/sub: it should be a folder, and out/model.onnx is a file. Give a new folder with --to."
    assert str(caught.value) == said


def test_a_trials_folder_that_is_being_exported_is_not_tidied_away(tmp_path: Path) -> None:
    place = tmp_path / "trials" / "007"
    with artefacts.kept(place):
        (place / "artefact").mkdir()
        assert not LocalArtefacts(place.parent).drop(place.name)
        assert (place / "artefact").is_dir()
    assert LocalArtefacts(place.parent).drop(place.name)
    assert not place.exists()
    assert LocalArtefacts(place.parent).drop(place.name)


def test_who_waited_for_a_folder_that_was_removed_gets_a_new_one(tmp_path: Path) -> None:
    place, kept = tmp_path / "007", threading.Event()
    place.mkdir()
    handle = os.open(place, os.O_RDONLY)
    artefacts.flock(handle, artefacts.LOCK_EX)

    def wait() -> None:
        with artefacts.kept(place):
            if place.is_dir():
                kept.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not kept.wait(0.2)
    place.rmdir()
    os.close(handle)
    thread.join(10)
    assert kept.is_set()
