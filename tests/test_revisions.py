"""Every method, and the code that all trainings, scores and figures share, has a revision, pinned to its code.

`python tests/test_revisions.py` writes revisions.json anew.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path

import pytest

from autocompress.machine.revisions import code_digest
from autocompress.runtimes.runtime import find_runtime
from autocompress.space import keys
from autocompress.space.method import methods

FILE = Path(__file__).parent / "revisions.json"
SHARED = {  # what a revision stands for besides methods -> it, and where its code begins
    "trainer": (keys.TRAINER, {
        "autocompress.methods.trainer": ["Training"], "autocompress.methods.context": ["Context"],
        "autocompress.models.forward": ["forward"],
        "autocompress.tasks.dataset": ["Examples"], "autocompress.tasks.tokenization": ["encode", "padding"],
        "autocompress.models.loading": ["load_model"], "autocompress.trials.stages": ["apply"],
        "autocompress.trials.taught": ["Taught._teach", "Taught.start"],
        "autocompress.trials.loaded": ["Loaded.calibration"],
    }),
    "importance": (keys.IMPORTANCE, {"autocompress.methods.importance": ["score"]}),
    "measuring": (keys.MEASURING, {
        "autocompress.runtimes.latency": ["latency", "absolute_latency", "latency_batch", "size_mb"],
        "autocompress.runtimes.flops": ["measure_module"], "autocompress.runtimes.peak_memory": ["peak_memory_mb"],
    }),
}  # fmt: skip
LOWERING = {"onnxruntime": "OnnxRuntime", "openvino": "OpenVinoRuntime", "torch": "TorchRuntime"}


def combined(places: dict[str, list[str]]) -> str:
    return "-".join(code_digest(module, *names)[:8] for module, names in places.items())


@cache
def now() -> dict[str, list[object]]:
    found: dict[str, list[object]] = {
        name: [method.revision, code_digest(method.__module__, method.__name__)] for name, method in methods().items()
    }
    found |= {name: [revision, combined(places)] for name, (revision, places) in SHARED.items()}
    for name, runtime in LOWERING.items():
        places = {f"autocompress.runtimes.{name}.runtime": [f"{runtime}.lower", f"{runtime}.open"]}
        found[f"graphs of {name}"] = [find_runtime(name).describe()["graph"], combined(places)]
    return dict(sorted(found.items()))


@pytest.mark.parametrize("name", sorted([*methods(), *SHARED, *(f"graphs of {name}" for name in LOWERING)]))
def test_changed_code_has_a_new_revision(name: str) -> None:
    pinned, found = json.loads(FILE.read_text()).get(name), now()[name]
    assert found == pinned, (
        f"the code of {name} has changed. If the same inputs may now give another result, raise its revision (a "
        "method's own, in its file; the trainer's, importance's and measuring's in keys.py; a graph's in the runtime's "
        "describe), so that what it gave before is made anew. Then, or if no result changes: "
        "python tests/test_revisions.py"
    )


HELPER = 'FOUR = 4\ndef used(x: int) -> int:\n    """Says."""\n    return x + FOUR  # a comment\n'
BEGINS = "def begins(x):\n    return used(x)\n"
PLACES = {  # the same code, in one file and in two
    "one.py": HELPER + BEGINS,
    "other.py": HELPER.replace("4", "5") + BEGINS,
    "apart/__init__.py": "",
    "apart/helpers.py": HELPER.replace(": int) -> int", ")").replace('Says."""', 'Says."""\n    "More."'),
    "apart/main.py": "from apart import helpers\n" + BEGINS.replace("used", "helpers.used"),
    "apart/named.py": BEGINS.replace("    ", "    from .helpers import used as known\n    ").replace("used(", "known("),
}


def test_moving_code_changes_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PLACES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    found = {name: code_digest(name, "begins") for name in ("one", "other", "apart.main", "apart.named")}
    assert found["one"] != found["other"], "a constant that a helper uses is code too"
    assert found["one"] == found["apart.main"] == found["apart.named"]


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LookupError, match="defines no 'nothing'"):
        code_digest("autocompress.space.keys", "nothing")


if __name__ == "__main__":
    FILE.write_text(json.dumps(now(), indent=1) + "\n")
    print(f"{FILE.name} is written. Say in the commit why each revision is as it is.")
