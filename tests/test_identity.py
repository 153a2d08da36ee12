"""A study goes on with what it was made of, or says what has changed; it can always be read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import tiny
from tiny_project import SPACE, make_project

import autocompress
from autocompress.engine import identity, run, study_file
from autocompress.engine.events import Observer
from autocompress.engine.optuna.store import Store
from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError
from autocompress.methods.pruning.layers import Layers
from autocompress.models import storage
from autocompress.report.terminal.comparison import comparison
from autocompress.report.terminal.trial_sheets import trial_sheet
from autocompress.space import keys
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.artefacts import kept


@pytest.fixture
def study(project: Path) -> Study:
    """A study with its baseline's figures and one trial, as if it had been searched."""
    return searched(project)


def searched(space: Path, name: str | None = None) -> Study:
    study = Study.create(space, name)
    identity.settle(study, Observer())
    measured = {"score": 0.9, "latency_ms": 3.0, "size_mb": 1.0, "speedup": 1.0}
    study_file.update(study.folder, baseline={"measurement": measured, "seconds": {}})
    study.store.enqueue(study.space.locate(study.space.anchors[0]))
    asked = study.store.ask(study.space.sample)
    study.store.tell(Trial(asked.number, "complete", asked.recipe, asked.params, measured | {"size_mb": 0.5}))
    return study


def refusal(space: Path, **more: Any) -> str:
    """What is said when the same command is given again. Nothing of it may have run."""
    with pytest.raises(ConfigError) as caught:
        Study.create(space, **more).run(trials=2)
    return str(caught.value)


def relabel(folder: Path, split: str) -> None:
    file = folder / f"{split}.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace("sour", "X").replace("sweet", "sour").replace("X", "sweet"), *lines[2:]]))  # fmt: skip # noqa: E501


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_corrected_texts_are_not_mixed_with_the_old_ones(study: Study, project: Path, split: str) -> None:
    before = (study.folder / "study.json").read_bytes()
    relabel(project.parent, split)
    said = refusal(project)
    assert said.startswith("the study 'space' is made of something else than what is there now:\n  ")
    name = "training" if split == "train" else split
    assert f"{name} texts: " in said
    assert said.count(" -> ") == 1
    assert said.endswith("autocompress search SPACE.yaml --study space-2")
    assert (study.folder / "study.json").read_bytes() == before
    assert len(Study.open("space").trials) == 1, "it can be read"


def test_texts_that_change_while_it_runs_are_noticed(study: Study, project: Path) -> None:
    relabel(project.parent, "validation")
    with pytest.raises(ConfigError, match=r"task\.data: the texts must be those that the study was made with"):
        _ = work.bench_of(study.data).task


@pytest.mark.parametrize(("file", "named"), [("model.safetensors", "model"), ("tokenizer.json", "tokenizer")])
def test_a_checkpoint_saved_over_the_old_one_is_noticed(study: Study, project: Path, file: str, named: str) -> None:
    with (project.parent / "model" / file).open("ab") as handle:
        handle.write(b" ")
    assert f"\n  {named}: sha256 " in refusal(project)


def test_a_teacher_that_is_a_checkpoint_is_noticed(project: Path) -> None:
    shutil.copytree(project.parent / "model", project.parent / "other")
    project.write_text(SPACE.replace("teacher: {finetune: {epochs: 4, lr: 1e-2, freeze_embeddings: false}}", "teacher: ./other"))  # fmt: skip # noqa: E501
    searched(project)
    storage.save(tiny(), project.parent / "other")
    assert "\n  teacher: sha256 " in refusal(project)


def test_what_was_measured_with_other_versions_is_not_gone_on_with(study: Study, project: Path) -> None:
    versions = study.record["versions"]
    study_file.update(study.folder, versions=versions | {"torch": "2.0.1", "optuna": "1", "autocompress": "0.0.9"})
    said = refusal(project)
    assert f"torch: 2.0.1 -> {versions['torch']}" in said
    assert "optuna" not in said, "no figure depends on it"
    assert not identity.unchanged(study)
    assert Study.open("space").trials[0].measurement["size_mb"] == 0.5


@pytest.mark.parametrize(
    ("owner", "name", "said"),
    [(Layers, "revision", "revision of layers: "), (keys, "TRAINER", "revision of training: ")],
)
def test_a_method_that_does_something_else_now_is_not_gone_on_with(
    study: Study, project: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, said: str
) -> None:
    monkeypatch.setattr(find("heads"), "revision", 7)  # not in this space
    monkeypatch.setattr(owner, name, 99)
    found = refusal(project)
    assert said in found
    assert " -> 99" in found
    assert "heads" not in found


def test_another_default_is_named_and_the_study_reads_as_it_was(study: Study, project: Path) -> None:
    written = study.record["space"]
    written["task"]["max_length"] = 99
    written["steps"][0]["one_of"][1]["layers"]["pace"] = 3
    study_file.update(study.folder, space=written)
    opened = Study.open("space")
    assert opened.space.task.max_length == 99
    assert opened.space.dump() == written
    assert len(opened.front) == 1
    said = refusal(project)
    assert "which filled this file with other defaults:\n  task.max_length: 99 -> 16\n" in said
    assert "layers.pace: 3 -> nothing" in said
    with pytest.raises(ConfigError, match=r"task\.max_length: 99 -> 16"):
        opened.run(trials=2)


def test_a_space_that_this_version_cannot_read_is_shown_and_not_searched(study: Study) -> None:
    copy = study.folder / "space.yaml"
    copy.write_text(copy.read_text().replace("layers: {keep: 0.5}, finetune", "layers: {share: 0.5}, finetune"))
    written = study.record["space"]
    written["search"] |= {"pace": 1, "sampler": "psychic"}
    study_file.update(study.folder, space=written)
    opened = Study.open("space")
    assert (opened.row()["front"], opened.space.search.sampler) == (1, "tpe")
    assert [t.number for t in opened.listed()] == [-1, 0]
    with pytest.raises(ConfigError, match="layers has no knob 'share'"):
        opened.run(trials=2)


OLD = [{"layers": {"keep": 0.5}}, {"squeeze": {"hard": True}}, {"finetune": {"epochs": 2, "lr": 0.01}}]


def test_recipes_of_another_version_are_data() -> None:
    old = Recipe.read(OLD)
    assert old.dump() == OLD, "no default of today is put into them"
    assert old.title == "layers+squeeze+finetune"
    assert old.fault() is None
    assert old.trained.title == old.title
    assert old.key != Recipe.load([{"layers": {"keep": 0.5}}]).key
    assert Recipe.read(OLD[:1]).key != Recipe.load(OLD[:1]).key, "what it had no word for may have been otherwise"
    assert dict(old[1])["hard"] is True
    current = Recipe.load([{"layers": {}}, {"finetune": {}}])
    assert Recipe.read(current.dump()) == current
    with pytest.raises(ConfigError, match="cannot carry out squeeze as another version wrote it"):
        old[1].apply(None, None)


def test_a_trial_of_another_version_is_listed_and_compared(study: Study) -> None:
    store = study.store
    asked = store.ask(study.space.sample)
    with sqlite3.connect(study.folder / "study.db") as database:
        ids = f"select trial_id from trials where number = {asked.number}"
        database.execute(
            f"update trial_user_attributes set value_json = ? where key = 'recipe' and trial_id in ({ids})",
            [json.dumps(json.dumps(OLD))],
        )
    trials = Study.open("space").trials
    assert trials[1].recipe.dump() == OLD
    assert "squeeze" in str(trial_sheet(trials))
    assert "hard=" in str(comparison(*trials))


def test_until_the_baseline_is_measured_nothing_is_held_to(project: Path) -> None:
    study = Study.create(project)
    identity.settle(study, Observer())
    relabel(project.parent, "validation")
    identity.settle(study, Observer())
    study_file.update(study.folder, baseline={"measurement": {}, "seconds": {}})
    identity.settle(study, Observer())


def test_a_study_that_has_measured_nothing_gives_way_to_a_corrected_space(project: Path) -> None:
    first = Study.create(project)
    identity.settle(first, Observer())
    assert not first.begun
    before = first.record["id"]
    first.artefacts.write("answers/labels.json", "[]")
    assert Study.create(project).record["id"] == before, "the same space goes on"
    project.write_text(SPACE.replace("size_mb <= 0.95 * baseline", "size_mb <= 0.9 * baseline"))
    with first.held(), pytest.raises(ConfigError, match="is being searched by process"):
        Study.create(project)
    second = Study.create(project)
    assert second.record["id"] != before
    assert (second.folder / "space.yaml").read_text() == project.read_text()
    assert second.artefacts.read("answers/labels.json") is None
    second.store.ask(second.space.sample)
    project.write_text(SPACE)
    assert "size_mb <= 0.9 * baseline -> size_mb <= 0.95 * baseline" in refusal(project)


def test_what_a_killed_search_was_writing_is_swept_unless_somebody_needs_it(study: Study) -> None:
    folder = study.folder / "trials" / "000"
    left = [place / ".curve.jsonl.0a1b2c3d" for place in (study.folder, study.folder / "answers", folder)]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    (folder / ".aside.0a1b2c3d" / "inner").mkdir(parents=True)
    (folder / "curve.jsonl").write_text("whole")
    with kept(folder):
        run._sweep(study)
    assert sorted(study.folder.rglob(".*")) == sorted([left[2], folder / ".aside.0a1b2c3d"])
    run._sweep(study)
    assert not list(study.folder.rglob(".*"))
    assert (folder / "curve.jsonl").read_text() == "whole"


def test_a_study_of_an_earlier_version_is_told_apart_from_now_on(study: Study, project: Path) -> None:
    record = {k: v for k, v in study.record.items() if k not in ("inputs", "space", "revisions", "runtime")}
    study_file.write(study.folder, record | {"format": 1, "root": str(project.parent)})
    said: list[str] = []

    class Noting(Observer):
        def note(self, text: str) -> None:
            said.append(text)

    identity.settle(Study.open("space"), Noting())
    assert len(said) == 1
    assert "which did not write down what data and model it was made of" in said[0]
    relabel(project.parent, "validation")
    assert "validation texts" in refusal(project)


def test_a_study_of_a_later_version_is_refused(study: Study) -> None:
    study_file.update(study.folder, format=3)
    with pytest.raises(
        ConfigError, match=r"study.json: this version reads format 2. Got 3. Install a newer autocompress"
    ):
        _ = Study.open("space").trials


def test_another_projects_file_of_the_same_text_is_another_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        make_project(tmp_path / name)
    searched(Path("alpha/space.yaml"))
    said = refusal(Path("beta/space.yaml"))
    assert said == (
        "beta/space.yaml: the study 'space' was made of the model and data beside another file of the same text, in "
        f"{tmp_path}/alpha. Give this one a name of its own: --study space-2"
    )


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "copied"])
def test_a_project_takes_its_studies_along(project: Path, moved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    old = project.parent / "v1"
    old.mkdir()
    monkeypatch.chdir(old)
    searched(make_project(old))
    new = project.parent / "v2"
    (shutil.move if moved else shutil.copytree)(old, new)
    monkeypatch.chdir(new)
    study = Study.open("space")
    assert study.root == new
    written = study.record["root"]
    study_file.update(study.folder, format=1, root=str(old))  # as the first version wrote it
    assert study.root == new
    study_file.update(study.folder, format=2, root=written)
    identity.settle(study, Observer())
    relabel(new, "validation")
    assert "validation texts" in refusal(new / "space.yaml"), "its own, not the old folder's"
    shutil.rmtree(new / "model")
    with pytest.raises(ConfigError, match=f"Got './model', that is {new}/model"):
        identity.settle(study, Observer())


def test_a_renamed_study_keeps_its_trials(study: Study) -> None:
    study.folder.rename(study.folder.with_name("b"))
    assert [t.number for t in Study.open("b").trials] == [0]


def test_a_database_of_an_earlier_version_opens_under_any_name(tmp_path: Path, study: Study) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    for name, count in (("b", 0), ("a", 2)):
        old = optuna.create_study(study_name=name, storage=url, directions=["maximize"])
        for _ in range(count):
            old.add_trial(optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={"recipe": "[]"}))
    assert len(Store(tmp_path / "old.db", {"score": "maximize"}, study.space.search).trials()) == 2


@pytest.mark.parametrize("folder", ["what?", "50%", "a#b", "{name}"])
def test_signs_in_a_path_mean_nothing(tmp_path: Path, folder: str, study: Study) -> None:
    (tmp_path / folder).mkdir()
    Store(tmp_path / folder / "study.db", {"score": "maximize"}, study.space.search).ask(study.space.sample)
    assert [file.name for file in tmp_path.glob("*.db*")] == []
    again = Store(tmp_path / folder / "study.db", {"score": "maximize"}, study.space.search)
    assert len(again.trials()) == 1


@pytest.mark.parametrize("name", ["a/b", "../up", ".", "..", "", ".hidden", "-x", "two words"])
def test_a_studys_name_is_that_of_a_folder(project: Path, name: str) -> None:
    before = sorted(project.parent.rglob("*"))
    with pytest.raises(ConfigError, match="--study: a study's name consists of letters, digits"):
        autocompress.search(project, name=name)
    assert sorted(project.parent.rglob("*")) == before
    assert Study.create(project, "größe-2.b_c").name in [place.name for place in Path("studies").iterdir()]


def test_a_file_may_have_any_name_that_a_folder_may_have(project: Path) -> None:
    assert Study.create(project.rename(project.with_name("my space (1).yaml"))).name == "my space (1)"


def test_the_end_of_a_search_may_change_in_its_file(study: Study, project: Path) -> None:
    project.write_text(SPACE.replace("trials: 4", "trials: 9, rule: fastest"))
    search = Study.create(project).space.search
    assert (search.trials, search.rule) == (9, "fastest")
    identity.settle(Study.open("space"), Observer())
