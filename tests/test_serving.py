"""The winner in MLflow's registry: what is logged, and a real server that answers over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from commands import run_here
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tiny_project import make_project

import autocompress
from autocompress.errors import ConfigError
from autocompress.tracking import registry
from autocompress.trials import work

pytestmark = pytest.mark.slow

STORED = Path(__file__).parent / "stored" / "format-1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    """A project whose search registered what it chose, and what it said."""
    folder = tmp_path_factory.mktemp("home")
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.setenv("OMP_NUM_THREADS", "1")
        done = _run("search", "space.yaml", "--trials", "1", "--register", "sweets")
        assert (done.returncode, done.stderr) == (0, "")
        (folder / "said.txt").write_text(done.stdout)
        yield folder
    work.loaded.cache_clear()


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autocompress", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def logged(home: Path, mlflow_uri: str) -> Path:
    """The folder that MLflow keeps of the first version."""
    client = MlflowClient(mlflow_uri)
    version = client.get_model_version("sweets", "1")
    return Path(client.get_logged_model(version.source.removeprefix("models:/")).artifact_location)


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """The command that was printed, on a free port, until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    [line] = [line for line in (home / "said.txt").read_text().splitlines() if "models serve" in line]
    log, command = home / "serve.txt", line.replace("--port 5001", f"--port {port}")
    with log.open("wb") as out:
        process = subprocess.Popen(["bash", "-c", command], stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while not _answers(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


def _asked(address: str, *texts: object) -> Any:
    body = json.dumps({"dataframe_records": [{"text": text} for text in texts]}).encode()
    return urllib.request.Request(address, body, {"Content-Type": "application/json"})


def test_a_served_model_answers_with_the_label_and_the_score_of_the_folder(home: Path, address: str) -> None:
    texts = ["honey tree river", "vinegar stone", "lemon"]
    with urllib.request.urlopen(_asked(address, *texts)) as answer:
        answers = json.load(answer)["predictions"]
    assert [a["label"] for a in answers] == ["sweet", "sour", "sour"]
    expected = autocompress.pipeline("exported/space")(texts)
    assert [a["score"] for a in answers] == pytest.approx([e["score"] for e in expected], abs=1e-6)


@pytest.mark.parametrize(("given", "said"), [(None, "nan"), (5, "5")])
def test_what_is_no_text_is_refused_in_a_sentence(address: str, given: object, said: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(_asked(address, "honey", given))
    assert caught.value.code == 400
    message = json.load(caught.value)["message"]
    assert message.endswith(f"Error: text: every row should be a text. Got {said}.")


def test_what_is_logged_holds_no_pickle_and_little_to_install(home: Path, logged: Path) -> None:
    kinds = {file.suffix for file in logged.rglob("*") if file.is_file()}
    assert kinds <= {"", ".css", ".js", ".json", ".md", ".onnx", ".py", ".safetensors", ".txt", ".yaml"}
    assert sorted(place.name for place in (logged / "artifacts").iterdir()) == ["space"]
    assert [p.name for p in (logged / "code").iterdir()] == ["autocompress"]
    wanted = (logged / "requirements.txt").read_text().split()
    names = [line.partition("==")[0] for line in wanted]
    assert names == ["mlflow", "numpy", "onnxruntime", "pydantic", "tokenizers"]
    assert all(version and "+" not in version for _, _, version in (line.partition("==") for line in wanted))
    assert json.loads((logged / "input_example.json").read_text()) == {"columns": ["text"], "data": [["some text"]]}


SERVED_ALONE = """
import sys, mlflow.pyfunc, pandas
before = set(sys.modules)
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pandas.DataFrame({"text": ["honey tree", "lemon"]})).label.tolist())
print(model.metadata.get_input_schema().input_names(), model.metadata.get_output_schema().input_names())
import autocompress
print(autocompress.__file__)
print(sorted({"datasets", "onnx", "optuna", "safetensors", "torch", "transformers"} & (set(sys.modules) - before)))
"""


def test_it_runs_from_its_own_code_and_loads_no_torch(logged: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVED_ALONE, logged], cwd=tmp_path, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "['sweet', 'sour']", "['text'] ['label', 'score']", f"{logged}/code/autocompress/__init__.py", "[]",
    ], done.stderr  # fmt: skip


def test_the_version_belongs_to_the_trials_run_and_says_what_it_is(home: Path, mlflow_uri: str) -> None:
    client, study = MlflowClient(mlflow_uri), autocompress.open_study("space")
    version = client.get_model_version("sweets", "1")
    run = client.get_run(version.run_id)
    assert run.info.run_name == study.best().label
    assert run.data.tags["autocompress.study_id"] == study.record["id"]
    assert run.info.status == "FINISHED"
    assert version.tags == {"autocompress.study": "space", "autocompress.trial": "0"}
    assert "| speedup |" in version.description
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert (model.source_run_id, str(model.status)) == (version.run_id, "READY")
    assert {metric.key: metric.value for metric in model.metrics}["score"] == run.data.metrics["score"]


def test_a_later_export_becomes_the_champion_and_the_earlier_one_stays(home: Path, mlflow_uri: str) -> None:
    (home / "uvicorn").touch(0o755)  # as in an activated environment
    done = _run("export", "space", "--to", "again", "--register", "sweets", PATH=f"{os.environ['PATH']}:{home}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        'again/ is ready: autocompress predict again "some text"',
        "",
        "Registered as version 2 of 'sweets', its champion. To serve it, and to ask:",
        "",
        "  mlflow models serve --env-manager local --host 127.0.0.1 --port 5001 -m models:/sweets@champion",
        "  curl 127.0.0.1:5001/invocations -H 'Content-Type: application/json' "
        '-d \'{"dataframe_records": [{"text": "some text"}]}\'',
    ]
    client = MlflowClient(mlflow_uri)
    assert int(client.get_model_version_by_alias("sweets", "champion").version) == 2
    assert client.get_model_version("sweets", "1").status == "READY"
    assert sorted(place.name for place in home.iterdir() if "ml" in place.name) == ["space.yaml"]


def test_trouble_at_mlflow_is_an_error_and_the_export_is_kept(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        done = run_here(home, "export", "space", "--to", "kept", "--register", "sweets")
    assert done.returncode == 4
    assert done.stderr == (
        "kept/ is exported, but it is not registered: MLflow at http://127.0.0.1:9 does not answer "
        "([Errno 111] Connection refused). Mend that, then: "
        "autocompress export space --trial 0 --to kept --register sweets\n"
    )
    assert done.stdout == 'kept/ is ready: autocompress predict kept "some text"\n'
    assert autocompress.pipeline("kept")("honey")[0]["label"] == "sweet"


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@champion", ".", "x" * 201])
def test_a_name_that_mlflow_cannot_hold_is_refused_before_anything_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.checked_name(name)
    assert str(caught.value) == (
        "--register: a model's name should be at most 200 letters, digits, dots, dashes, underscores or spaces, the "
        f"first no dot or space. Got {name!r}."
    )


def test_a_wrong_name_costs_no_search(home: Path) -> None:
    done = run_here(home, "search", "space.yaml", "--study", "other", "--register", "a/b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--register: a model's name should be")
    assert not (home / "studies" / "other").exists()


def test_pairs_are_two_columns_with_the_tasks_own_names(tmp_path: Path) -> None:
    from autocompress.tracking.served import Served

    folder = shutil.copytree(STORED, tmp_path / "pairs")
    serving = json.loads((folder / "serving.json").read_text())
    serving["task"]["text"] = ["premise", "hypothesis"]
    (folder / "serving.json").write_text(json.dumps(serving))
    served = Served()
    served.load_context(SimpleNamespace(artifacts={"exported": str(folder)}))
    rows = [("honey tree", "river"), ("stone", "lemon")]
    answers = served.predict(None, pd.DataFrame(rows, columns=["premise", "hypothesis"]))
    assert answers.to_dict("records") == autocompress.pipeline(folder)(rows)
    assert served.predict(None, pd.DataFrame(columns=["premise", "hypothesis"])).empty
    with pytest.raises(MlflowException, match=r"^hypothesis: every row should be a text\. Got nan\.$"):
        served.predict(None, pd.DataFrame({"premise": ["honey"], "hypothesis": [float("nan")]}))
