"""Who may import whom: a module imports from layers above its own only, and every heavy library has one owner."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autocompress"
LAYERS = [
    {"gpu", "revisions"},
    {"errors", "distributions", "settings", "faults", "interrupts", "stopwatch", "heartbeat"},
    {"disk"},
    {"examples", "finite", "label_names", "precision", "method", "cache", "quiet", "trial_folders"},
    {"recorded"},
    {"surgery", "recipe"},
    {"keys"},
    {"context", "families", "kinds", "rounding", "students"},
    {"importance", "incoherence", "ledger", "observers", "put_aside", "runtime"},
    {"structure", "goals", "manifest", "measure", "footprint"},
    {"dominance"},
    {"standing", "isolated", "export_files"},
    {"memory"},
    {"methods", "safety"},
    {"language", "selection", "relaxation", "tables", "hypervolume", "rungs", "undertrained", "early_stopping"},
    {"space", "catalogue", "checkpoints", "finalists"},
    {"stored_space"},
    {"study_file"},
    {"anchors", "data"},
    {"input_limits"},
    {"models", "answers", "guessing"},
    {"fingerprints"},
    {"identity"},
    {"task", "runtimes"},
    {"scoring", "same_tokens"},
    {"teacher"},
    {"workbench"},
    {"stages"},
    {"applicability"},
    {"trial"},
    {"jobs"},
    {"executors", "observer", "reconstruction"},
    {"database", "exported", "samplers", "scheduler"},
    {"store", "verify", "profiling", "budget", "confirmation", "progress"},
    {"tracking", "lookout", "left_out"},
    {"coordinator"},
    {"run"},
    {"card", "study"},
    {"export", "registration", "display", "tabulate"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
OWNERS = {
    "optuna": {"database", "samplers", "store"}, "datasets": {"data.readers"}, "yaml": {"language.yaml_source"},
    "mlflow": {"tracking.tracker", "tracking.registry", "tracking.served"},
    "onnx": {
        "runtimes.onnxruntime", "runtimes.onnx_export", "runtimes.onnx_graph", "runtimes.onnx_inputs",
        "runtimes.onnx_quantize", "runtimes.onnx_reshapes", "runtimes.onnxruntime_trace",
    },
    "onnxruntime": {"runtimes.onnxruntime", "runtimes.onnx_reshapes", "runtimes.onnxruntime_trace"}, "typer": {"cli"},
    "openvino": {"runtimes.openvino", "runtimes.openvino_quantize"},
    "huggingface_hub": {"checkpoints", "models"}, "filelock": {"cache", "run", "tracking.tracker"},
    "pebble": {"executors.processes"}, "matplotlib": {"profiling.picture"},
}  # fmt: skip
SOURCES = sorted(PACKAGE.rglob("*.py"))
PURE = {
    "errors",
    "distributions",
    "settings",
    "recipe",
    "ledger",
    "dominance",
    "goals",
    "language",
    "finalists",
    "selection",
    "relaxation",
    "hypervolume",
    "rungs",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(path: Path, *, at_load: bool) -> set[str]:
    """Modules that `path` imports: all of them, or only those that are loaded along with it."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_load else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "autocompress":
            found |= {f"autocompress.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found - {"autocompress"}


def ours(path: Path) -> set[str]:
    return {m.split(".")[1] for m in imported(path, at_load=True) if m.startswith("autocompress.")}


def test_every_module_has_its_layer() -> None:
    assert {name_of(path).split(".")[0] for path in SOURCES} == set(LEVEL)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_up(path: Path) -> None:
    own = name_of(path).split(".")[0]
    below = {other for other in ours(path) if other != own and LEVEL[other] >= LEVEL[own]}
    assert not below, f"{own} must not import {below}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_heavy_libraries_have_owners(path: Path) -> None:
    foreign = {m.split(".")[0] for m in imported(path, at_load=False)} & OWNERS.keys()
    own = {name_of(path), name_of(path).split(".")[0]}
    assert not {lib for lib in foreign if not own & OWNERS[lib]}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.parent.name == "methods"], ids=name_of)
def test_no_method_knows_another(path: Path) -> None:
    assert not any(m.startswith("autocompress.methods") for m in imported(path, at_load=False))


@pytest.mark.parametrize("path", [p for p in SOURCES if name_of(p).split(".")[0] in PURE], ids=name_of)
def test_pure_data_loads_no_torch(path: Path) -> None:
    assert not {m for m in imported(path, at_load=True) if m.split(".")[0] in ("torch", "transformers")}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_pickled(path: Path) -> None:
    assert not {"pickle", "cloudpickle", "joblib"} & {m.split(".")[0] for m in imported(path, at_load=False)}
    text = path.read_text()
    assert "torch.save" not in text
    assert "torch.load" not in text
    assert "trust_remote_code=True" not in text
