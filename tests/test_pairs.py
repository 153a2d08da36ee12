"""A model of pairs from its search to the command that was printed, and what is refused where the form does not fit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from commands import environment, run_here
from tiny_project import SPACE, make_project

import autocompress
from autocompress.errors import ConfigError
from autocompress.runtimes import isolated
from autocompress.serving.verify import verify
from autocompress.tasks.data.pairs import checked_texts, predict_line

STORED = Path(__file__).parent / "stored" / "format-1"  # of single texts
PAIRS = SPACE.replace("  max_length: 16\n", "  max_length: 16\n  text: [claim, reply]\n").split("anchors:")[0] + (
    "steps:\n  - finetune: {epochs: 2, lr: 1e-2, freeze_embeddings: false}\n  - int8_dynamic\n"
)


@pytest.fixture(autouse=True, scope="module")
def no_mlflow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, no_mlflow: None) -> Path:
    """A finished search on pairs, in a folder whose name has a blank; what it printed is in said.txt."""
    folder = tmp_path_factory.mktemp("home of pairs")
    make_project(folder, PAIRS)
    for file in folder.glob("*.csv"):
        with file.open(newline="") as handle:
            rows = list(csv.reader(handle))[1:]
        with file.open("w", newline="") as handle:
            csv.writer(handle).writerows([("claim", "reply", "label"), *(("a tree", *row) for row in rows)])
    done = run_here(folder, "search", "space.yaml", "--trials", "1", "--to", "pairs model")
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


@pytest.mark.slow
def test_the_printed_command_fits_the_model(home: Path) -> None:
    [line] = [line for line in (home / "said.txt").read_text().splitlines() if "autocompress predict" in line]
    assert line.strip() == 'autocompress predict \'pairs model\' --pair "some text" "another text"'
    command = line.replace("autocompress", f"{sys.executable} -m autocompress", 1)
    done = subprocess.run(command, shell=True, cwd=home, env=environment(home), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(word in done.stdout for word in ("claim", "reply", "some text", "another text"))


@pytest.mark.slow
def test_several_pairs(home: Path) -> None:
    pairs = [("a tree", "honey river"), ("a tree", "lemon"), ("a tree", "vinegar stone walks")]
    options = [part for pair in pairs for part in ("--pair", *pair)]
    answers = json.loads(run_here(home, "predict", "pairs model", *options, "--json").stdout)
    assert [answer["label"] for answer in answers] == ["sweet", "sour", "sour"]
    classify = autocompress.pipeline(home / "pairs model")
    assert [answer["label"] for answer in classify(pairs)] == ["sweet", "sour", "sour"]
    assert classify(pairs[0]) == classify([list(pairs[0])]) == [classify(pairs)[0]]


@pytest.mark.slow
def test_a_model_of_pairs_refuses_single_texts(home: Path) -> None:
    said = (
        "this model reads pairs of texts, claim and reply. Got a single text, 'honey'. Give each pair as a tuple, "
        "(claim, reply), or on the command line as --pair CLAIM REPLY."
    )
    done = run_here(home, "predict", "pairs model", "honey", "lemon")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said + "\n")
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(home / "pairs model")("honey")
    assert str(caught.value) == said


@pytest.mark.slow
def test_verify_scores_pairs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(isolated, "absolute_latency", lambda *a: 1.0)
    check = verify(Path("pairs model"))[0]
    assert (check.quantity, check.verdict) == ("score", "agrees")


@pytest.mark.parametrize("texts", [("honey", "lemon"), [("honey", "lemon")], ["honey", ["honey", "lemon"]]])
def test_a_model_of_single_texts_refuses_pairs(texts: Sequence[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^this model reads single texts\. Got a pair, .*\. Give each text by itself"
    ):
        autocompress.pipeline(STORED)(texts)


def test_predict_without_anything_to_classify(tmp_path: Path) -> None:
    done = run_here(tmp_path, "predict", str(STORED))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "predict: there should be a text, or --pair and two texts. Got 0.\n"
    done = run_here(tmp_path, "predict", str(STORED), "--pair", "honey", "lemon", "--pair", "stone")
    assert done.stderr == "predict: there should be two texts for every pair. Got 3.\n"
    done = run_here(tmp_path, "predict", str(STORED), "--pair", "honey", "lemon")
    assert done.stderr == "this model reads single texts. Got a pair, ('honey', 'lemon'). Give each text by itself.\n"


def test_more_than_two_texts_are_no_pair() -> None:
    with pytest.raises(ConfigError, match="Got 3 texts, "):
        checked_texts([("a", "b", "c")], ("claim", "reply"))  # type: ignore[list-item]


def test_the_line_for_single_texts() -> None:
    assert predict_line(Path("out"), ("text",)) == 'autocompress predict out "some text"'
