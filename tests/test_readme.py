"""Every block of the README runs, and every command of docs/commands.md, on a project of the shape it speaks of."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import environment, run_here, run_process
from tiny_project import make_project

from autocompress.tracking.registry import Registered

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS, MLFLOW = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("commands", "mlflow"))
PROCESSES = ("search", "export")  # which load the most; the others are run in this process


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.M | re.S)


def typed(block: str) -> dict[str, list[str]]:
    """The words of each line, without its comment."""
    return {line: shlex.split(line, comments=True) for line in filter(None, block.splitlines())}


def test_the_readme_shows_some_of_all_commands() -> None:
    every = list(typed(*blocks("shell", COMMANDS)).values())
    assert all(words in every for words in typed(blocks("shell")[1]).values())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    """The README's space beside a checkpoint and three csv files."""
    folder = tmp_path_factory.mktemp("readme")
    [space] = blocks("yaml")
    make_project(folder, space)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        yield folder


def test_the_make_commands_are_targets() -> None:
    commands, makefile = blocks("shell")[0].split("\n"), (ROOT / "Makefile").read_text()
    for command in filter(None, commands):
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, flags=re.M), command


@pytest.mark.slow
def test_every_command_runs(project: Path) -> None:
    for line, (program, *arguments) in typed(*blocks("shell", COMMANDS)).items():
        assert program == "autocompress"
        run = run_process if arguments[0] in PROCESSES else run_here
        done = run(project, *arguments)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout


@pytest.mark.slow
def test_every_python_block_runs(project: Path) -> None:
    for block in blocks("python"):
        command = [sys.executable, "-c", block]
        done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "label" in done.stdout


def test_the_lines_that_serve_are_those_that_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_serving.py runs the first and asks it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    made = Registered("reviews", "1", "sqlite:///mlflow.db", ("text",))
    assert blocks("bash", MLFLOW) == [f"{made.serve}\n{made.ask}\n"]


def test_links_and_methods_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    methods = {p.stem for p in (ROOT / "autocompress" / "methods").glob("*/*.py")} - {"__init__"}
    assert all(f"`{name}`" in README for name in methods)
