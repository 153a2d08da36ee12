"""Every block of the README runs, on a project of the shape it speaks of."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_project import make_project

from autocompress.tracking.registry import Registered

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> tuple[Path, dict[str, str]]:
    """The README's space beside a checkpoint and three csv files."""
    folder = tmp_path_factory.mktemp("readme")
    [space] = blocks("yaml")
    make_project(folder, space)
    own = {"AUTOCOMPRESS_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": mlflow_uri, "OMP_NUM_THREADS": "1"}
    return folder, os.environ | own


def test_the_make_commands_are_targets() -> None:
    commands, makefile = blocks("shell")[0].split("\n"), (ROOT / "Makefile").read_text()
    for command in filter(None, commands):
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, flags=re.M), command


def test_every_command_runs(project: tuple[Path, dict[str, str]]) -> None:
    folder, environment = project
    for line in filter(None, blocks("shell")[1].splitlines()):
        program, *arguments = shlex.split(line, comments=True)
        assert program == "autocompress"
        command = [sys.executable, "-m", "autocompress", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout


def test_every_python_block_runs(project: tuple[Path, dict[str, str]]) -> None:
    folder, environment = project
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "label" in done.stdout


def test_the_lines_that_serve_are_those_that_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_serving.py runs the first and asks it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    made = Registered("reviews", "1", "sqlite:///mlflow.db", ("text",))
    assert blocks("bash") == [f"{made.serve}\n{made.ask}\n"]


def test_links_and_methods_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    methods = {p.stem for p in (ROOT / "autocompress" / "methods").glob("*/*.py")} - {"__init__"}
    assert all(f"`{name}`" in README for name in methods)
