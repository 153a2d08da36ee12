"""Before a study: doctor, init, plan, apply, on a project of seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from jsonschema import Draft202012Validator
from tiny_project import SPACE, make_project, train_checkpoint

import autocompress
from autocompress.errors import ConfigError
from autocompress.planning import columns, doctor, rehearsals
from autocompress.planning.draws import draws
from autocompress.planning.first import SCHEMA
from autocompress.planning.sentences import duration
from autocompress.space.language.schema import schema
from autocompress.space.language.yaml_lines import YamlSource
from autocompress.space.search_space import SearchSpace

SHIPPED = Path(__file__).parent.parent / "search_spaces"
FEW = SPACE.replace("[0.25, 0.5], multiple", "0.5, multiple").replace("{low: 1e-3, high: 1e-2, log: true}", "1e-2")
KINDS = ("text-classification", "token-classification", "causal-lm")


def validate(space: Path, schema: Path) -> None:
    Draft202012Validator(json.loads(schema.read_text())).validate(_as_editors_read(YamlSource.read(space).data))


def _as_editors_read(data: Any) -> Any:
    """YAML 1.2: `3e-4` is a number there, and a word in 1.1, which we take for the number that it is."""
    match data:
        case dict():
            return {key: _as_editors_read(value) for key, value in data.items()}
        case list():
            return [_as_editors_read(value) for value in data]
        case str() if re.fullmatch(r"[0-9.]+e-?[0-9]+", data):
            return float(data)
    return data


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("planning")
    train_checkpoint(make_project(folder, FEW))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        yield folder


def test_the_doctor_finds_what_is_missing_and_says_the_cure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_here(home, "doctor")
    assert done.returncode == 0, done.stdout
    assert "All packages are there in versions that fit" in done.stdout
    assert f"torch {version('torch')}" in done.stdout

    def installed(name: str) -> str:
        if name == "openvino":
            raise PackageNotFoundError(name)
        return "4.0" if name == "optuna" else version(name)

    monkeypatch.setattr(doctor, "version", installed)
    done = run_here(home, "doctor", "--json")
    assert done.returncode == 1
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["optuna is 4.0, and should be <6,>=5."]["cure"] == "pip install 'optuna<6,>=5'"
    assert found["openvino is not installed."]["state"] == "note"
    assert found["openvino is not installed."]["cure"].endswith("pip install 'autocompress[openvino]'")


def test_the_doctor_says_where_nothing_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cache_root", lambda: home / "space.yaml" / "cache")
    wrong = [finding for finding in doctor.findings() if finding.state == "wrong"]
    assert len(wrong) == 1
    assert "cache" in wrong[0].what
    assert "AUTOCOMPRESS_CACHE" in wrong[0].cure


def test_a_plan_tells_what_a_search_takes_and_what_cannot_work(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "_RECIPES", 6)
    done = run_here(home, "plan", "space.yaml", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["texts"] == {"train": 128, "validation": 64, "test": 32}
    assert (found["trials"], found["recipes"], found["rehearsed"]) == (4, None, 6)
    assert 0 < found["feasible"] <= found["rehearsed"]
    assert found["step_seconds"] > 0
    least, most = found["search_seconds"]
    teacher, trial = found["teacher_seconds"][0], found["trial_seconds"]
    assert least == most == pytest.approx(teacher + 4 * trial)
    assert not list(home.glob("studies/*"))  # nothing was begun

    (home / "tight.yaml").write_text(FEW.replace("size_mb <= 0.95 * baseline", "size_mb <= 0.0001"))
    done = run_here(home, "plan", "tight.yaml")
    assert "None of" in done.stdout
    assert "break size_mb <= 0.0001 (the best has 0.0" in done.stdout
    assert "with 64 validation texts" not in done.stdout  # half the score is far from what noise can tell
    (home / "fine.yaml").write_text(FEW.replace("0.5 * baseline", "0.99 * baseline"))
    assert "a score is known to about ±0.12" in run_here(home, "plan", "fine.yaml").stdout


def test_init_writes_a_space_that_fits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "_RECIPES", 4)
    asked = ("--model", "./model", "--data", "train.csv", "--speedup", "1.01", "--device", "cpu", "--time", "5m")
    done = run_here(home, "init", "first.yaml", *asked, "--size", "0.9", "--keep", "0.5")
    assert done.returncode == 0, done.stderr
    space = SearchSpace.load(home / "first.yaml")
    assert space.task.data == {"train": "train.csv", "validation": "validation.csv", "test": "test.csv"}
    assert (space.task.text, space.task.label) == (("text",), "label")
    assert space.task.max_length == 16
    assert [c.text for c in space.goals.constraints] == [
        "score >= 0.5 * baseline", "latency_ms <= 0.99 * baseline", "size_mb <= 0.9 * baseline",
    ]  # fmt: skip
    assert 8 <= space.search.trials <= 200
    assert "fisher_masks" not in str(space.dump()["steps"])
    assert any(step.get("finetune") for step in space.dump()["steps"])
    validate(home / "first.yaml", home / SCHEMA)
    again = run_here(home, "init", "first.yaml", *asked)
    assert again.returncode == 2
    assert "which is there" in again.stderr
    asked_nobody = run_here(home, "init", "second.yaml", "--model", "./model")
    assert asked_nobody.returncode == 2
    assert "Give --data too" in asked_nobody.stderr
    lost = run_here(home, "init", "second.yaml", *asked[:2], "--data", "nowhere.csv", *asked[4:])
    assert lost.returncode == 2
    assert "must be a file that exists" in lost.stderr
    assert not (home / "second.yaml").exists()


def test_apply_carries_out_one_recipe_and_an_exported_one_again(home: Path) -> None:
    (home / "half.yaml").write_text("- layers: {keep: 0.5}\n- finetune: {epochs: 2, lr: 0.01}\n- int8_dynamic\n")
    done = run_here(home, "apply", "half.yaml", "--space", "space.yaml", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert "On the untouched test split it scores" in done.stdout
    assert autocompress.pipeline(home / "out")(["honey tree"])[0]["label"] in ("sour", "sweet")
    again = run_here(home, "apply", "out/recipe.yaml", "--model", "./model", "--data", "train.csv", "--to", "again")
    assert again.returncode == 0, again.stderr
    assert (home / "again" / "recipe.yaml").read_text() == (home / "out" / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("[layer]", ("--space", "space.yaml"), "bad.yaml:1: there is no method 'layer'. Did you mean 'layers'?"),
        ("steps: [one_of: [skip, layers]]", (), "bad.yaml:1: a recipe is decided: it has no one_of."),
        ("[int8_dynamic, layers, finetune]", ("--space", "space.yaml"), "bad.yaml: this recipe cannot work: layers"),
        ("[finetune]", (), "Give --model and --data, or --space SPACE.yaml"),
        ("[]", ("--space", "space.yaml"), "a recipe has at least one step"),
    ],
)
def test_a_recipe_that_cannot_work_is_told(home: Path, recipe: str, options: tuple[str, ...], said: str) -> None:
    (home / "bad.yaml").write_text(recipe + "\n")
    done = run_here(home, "apply", "bad.yaml", "--to", "nothing", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (home / "nothing").exists()


def test_columns_are_told_by_names_and_by_what_they_hold(tmp_path: Path) -> None:
    def table(rows: list[dict[str, object]]) -> Path:
        file = tmp_path / "train.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    rows = [{"id": str(i), "review": f"a text that is long {i}", "stars": str(i % 3)} for i in range(40)]
    assert columns.guess(table(rows), (), "", KINDS) == ("text-classification", ("review",), "stars")
    pairs = [{"premise": "a b", "hypothesis": f"c {i}", "label": i % 2} for i in range(8)]
    assert columns.guess(table(pairs), (), "", KINDS) == ("text-classification", ("premise", "hypothesis"), "label")
    words = [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}] * 4
    assert columns.guess(table(words), (), "", KINDS) == ("token-classification", ("tokens",), "ner_tags")
    alone = [{"text": f"only a text {i}"} for i in range(8)]
    assert columns.guess(table(alone), (), "", KINDS) == ("causal-lm", ("text",), "")
    with pytest.raises(ConfigError, match=r"no column 'stars'\. Its columns: text"):
        columns.guess(table(alone), (), "stars", KINDS)
    (tmp_path / "test.jsonl").touch()
    train = str(tmp_path / "train.jsonl")
    assert columns.splits(train) == {"train": train, "test": str(tmp_path / "test.jsonl")}
    assert columns.splits("glue/sst2") == "glue/sst2"


def test_draws_are_recipes_of_the_space_and_none_comes_twice() -> None:
    space = SearchSpace.load(SHIPPED / "quickstart.yaml")
    drawn = [recipe for recipe, _ in zip(draws(space), range(60), strict=False)]
    assert drawn[: len(space.anchors)] == list(space.anchors)
    assert len({recipe.key for recipe in drawn}) == 60
    assert all(space.holds(recipe) and recipe.fault() is None for recipe in drawn)


def test_durations_are_said_as_people_do() -> None:
    assert [duration(s) for s in (12.4, 720, 9000)] == ["12 s", "12 min", "2.5 h"]


@pytest.mark.parametrize("space", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_spaces_name_a_schema_that_they_fit(space: Path) -> None:
    first = space.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    validate(space, SHIPPED / "schema.json")


def test_the_shipped_schema_is_what_the_methods_give() -> None:
    """Written anew where it is not: run this twice."""
    file, now = SHIPPED / "schema.json", json.dumps(schema(), indent=1) + "\n"
    before = file.read_text() if file.exists() else ""
    if before != now:
        file.write_text(now)
    assert before == now
