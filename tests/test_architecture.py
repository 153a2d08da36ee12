"""The house: what each folder may import, who owns which library, how large files may grow. By folder, not by file."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autocompress"
ORDER = [
    "errors", "machine", "space", "tasks", "models", "runtimes", "methods", "serving", "trials", "engine", "report",
    "export", "tracking", "profiling", "planning", "study", "cli",
]  # fmt: skip
OWNERS = {
    "optuna": "engine.optuna", "mlflow": "tracking", "datasets": "tasks.data", "yaml": "space.language",
    "pebble": "trials.executors", "typer": "cli", "onnx": "runtimes", "onnxruntime": "runtimes",
    "openvino": "runtimes.openvino", "huggingface_hub": "models machine.silence", "matplotlib": "profiling report.page",
    "plotly": "report",
}  # fmt: skip
SOURCES = sorted(PACKAGE.rglob("*.py"))
CATALOGUES = {"families", "kinds", "formats", "tasks", "pruning", "quantization", "distillation", "training"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """Everything that `path` imports: lazily and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The folders of the package that it imports from."""
    return {
        parts[1] for m in imported(path) if (parts := m.split("."))[0] == "autocompress" and {*parts[1:2]} & {*ORDER}
    }


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = name_of(path).split(".")[0]
    if own in ("__init__", "__main__"):
        return
    ahead = {other for other in ours(path) if ORDER.index(other) > ORDER.index(own)}
    if name_of(path) == "space.method":
        ahead -= {"methods"}  # the one exception: it finds the catalogue, when it is asked
    assert not ahead, f"{own} must not import {ahead}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_libraries_have_owners(path: Path) -> None:
    foreign = {m.split(".")[0] for m in imported(path)} & OWNERS.keys()
    assert not {
        library
        for library in foreign
        if not f"{name_of(path)}.".startswith(tuple(f"{owner}." for owner in OWNERS[library].split()))
    }


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.parent.name == "methods"], ids=name_of)
def test_a_method_knows_models_and_its_own_interface(path: Path) -> None:
    found = {m for m in imported(path) if m.startswith("autocompress.")}
    allowed = ("errors", "models", "tasks", "space.method", "space.distributions", "space.settings")
    shared = {f"autocompress.methods.{file.stem}" for file in (PACKAGE / "methods").glob("*.py")}
    known = {m for m in found if m.startswith(tuple(f"autocompress.{name}" for name in allowed))}
    assert not {m for m in found - known if m.rpartition(".")[0] not in shared and m not in shared}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_pickled(path: Path) -> None:
    assert not {"pickle", "cloudpickle", "joblib"} & {m.split(".")[0] for m in imported(path)}
    text = path.read_text()
    assert "torch.save" not in text
    assert "torch.load" not in text
    assert "trust_remote_code=True" not in text


def test_a_folder_has_a_charter_and_fifteen_files_at_most() -> None:
    folders = defaultdict(list)
    for path in SOURCES:
        folders[path.parent].append(path)
    for folder, files in folders.items():
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder.name} has no charter"
        assert len(files) <= 16 or folder.name in CATALOGUES, f"{folder.name} has {len(files)} files"
    assert len(folders[PACKAGE]) <= 6


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 40, f"{node.name} is too long"


def test_class_names_are_unique() -> None:
    names = Counter(
        node.name
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not {name for name, count in names.items() if count > 1}


def _listed(folder: str) -> set[str]:
    return {path.stem for path in (PACKAGE / folder).iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__"}


NAMED = {  # names that stand in their own folder only -> that folder
    "runtimes": _listed("runtimes") & {"onnxruntime", "openvino", "torch"},
    "tasks.kinds": {name.replace("_", "-") for name in _listed("tasks/kinds")},
    "models.families": _listed("models/families") - {"anatomy", "asking", "places", "__pycache__"},
}
ALLOWED = {  # where a name has to stand, or is another thing's
    "space.settings": "what is taken where nothing is said, and `compile`",
    "space.keys": "versions of libraries", "engine.identity": "versions of libraries",
    "tasks.data.sources": "packages whose docstrings are read",
}  # fmt: skip


@pytest.mark.parametrize("path", [p for p in SOURCES if name_of(p) not in ALLOWED], ids=name_of)
def test_no_runtime_task_or_family_is_named_elsewhere(path: Path) -> None:
    """So that adding one is one file."""
    strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
    foreign = {name for folder, names in NAMED.items() if not name_of(path).startswith(folder) for name in names}
    assert not strings & foreign
