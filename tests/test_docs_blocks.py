"""Every block of every page is true: spaces load, commands are taken, and what is cheap runs on a tiny project.

The language of a block says what is done with it. yaml: a search space, some of its keys, or a recipe; shell: lines for
a terminal; python: runs by itself; text: shown only. The README's blocks and docs/commands.md are
run by tests/test_readme.py.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import typer
from commands import environment, run_here
from tiny_project import SPACE, make_project

from autocompress import cli
from autocompress.space.language.sections import KEYS
from autocompress.space.language.yaml_lines import YamlSource
from autocompress.space.method import methods
from autocompress.space.search_space import SearchSpace
from autocompress.trials import work

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]
CHEAP = {
    "show", "validate", "schema", "methods", "studies", "trials", "compare", "tabulate", "export", "predict",
    "search", "resume", "sync",
}  # fmt: skip
THERE = {"space.yaml", "space", "exported/space", *methods()}  # what a command may name to be run on the project


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^(`{3,}|:{3,})(\S*)[^\n]*\n(.*?)^\1 *$", text, flags=re.M | re.S):
        yield Block(page.name, text[: found.start()].count("\n") + 1, found[2], found[3])


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def of(language: str) -> Any:
    """A test for each block of the language outside of the README."""
    chosen = [b for b in BLOCKS if b.language == language and b.page not in ("README.md", "commands.md")]
    return pytest.mark.parametrize("block", chosen, ids=[f"{b.page}:{b.line}" for b in chosen])


def _lines(block: Block) -> list[str]:
    """The commands, without what only shows where their output goes."""
    whole = block.text.replace("\\\n", " ").splitlines()
    return [line for line in whole if line.strip() and not line.startswith("#")]


def _words(line: str) -> list[str]:
    """Without variables before the command."""
    words = shlex.split(line, comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return words


def _context(arguments: list[str]) -> click.Context:
    """Raises what the command line raises for what it does not take."""
    group = typer.main.get_command(cli.app)
    name, *rest = arguments
    if name.startswith("--"):
        return group.make_context("autocompress", arguments, resilient_parsing=True)
    return group.commands[name].make_context(name, rest)  # type: ignore[attr-defined, no-any-return]


def _check(line: str) -> None:
    program, *arguments = _words(line.partition(" > ")[0])
    if program == "autocompress":
        _context(arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), flags=re.M), line
    else:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert [program, arguments[0]] == ["pip", "install"], f"what is {line!r}?"
        assert set(re.findall(r"\w+", arguments[1])) - {"autocompress"} <= set(extras), line


def test_every_block_says_what_it_is() -> None:
    known = {"yaml", "shell", "python", "bash", "text"}
    assert not [b[:3] for b in BLOCKS if b.language not in known and not b.language.startswith("{")]


@of("shell")
def test_commands_are_taken(block: Block) -> None:
    for line in _lines(block):
        _check(line)


def test_commands_within_sentences_are_taken() -> None:
    for page in PAGES:
        for line in re.findall(r"`((?:AUTOCOMPRESS_\w+=\S+ )?autocompress [a-z-][^`]*)`", page.read_text()):
            if len(words := line.split()) == 2:
                known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
                assert words[1].startswith("--") or words[1] in known, line
            elif "..." not in line:
                _check(" ".join(words))


def test_variables_and_links_are_there() -> None:
    code = "".join(path.read_text() for path in (ROOT / "autocompress").rglob("*.py"))
    for page in PAGES:
        text = page.read_text()
        assert not [name for name in re.findall(r"AUTOCOMPRESS_[A-Z_]+", text) if f'"{name}"' not in code], page
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


@of("yaml")
def test_spaces_and_their_parts_load(block: Block, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    (tmp_path / "block.yaml").write_text(block.text)
    tiny, given = (YamlSource.read(tmp_path / f"{name}.yaml").data for name in ("tiny", "block"))
    if isinstance(given, list):
        given = {"steps": given}  # a recipe is a space in which all is decided
    assert set(given) <= set(KEYS)
    SearchSpace.parse({**tiny, "anchors": [], **given}, root=tmp_path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    """The study `space` and the model exported/space, beside what they were made of."""
    folder = tmp_path_factory.mktemp("docs")
    make_project(folder, SPACE.replace("trials: 4", "trials: 1"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment(folder), "MLFLOW_TRACKING_URI": mlflow_uri}.items():
            patch.setenv(name, value)
        done = run_here(folder, "search", "space.yaml", "--quiet")
        assert done.returncode == 0, done.stderr
        patch.chdir(folder)
        yield folder


def _runs(arguments: list[str]) -> bool:
    """Whether it is cheap, and speaks of the project."""
    named = [word for word in arguments[1:2] if not word.startswith("-")]
    trains = {"--trials", "--register", "--data", "--study", "--timeout", "--restore"} & set(arguments)
    return arguments[0] in CHEAP and set(named) <= THERE and not trains


@pytest.mark.slow
@of("shell")
def test_cheap_commands_run(block: Block, project: Path) -> None:
    for line in _lines(block):
        program, *arguments = _words(line.partition(" > ")[0])
        if program == "autocompress" and _runs(arguments):
            done = run_here(project, *arguments)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            assert done.stdout, line


@pytest.mark.slow
@of("python")
def test_python_runs(block: Block, project: Path) -> None:
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})
    work.loaded.cache_clear()
