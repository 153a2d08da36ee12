"""Whole searches on a tiny model, with real training, real ONNX files and real stores."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_project import SPACE, train_checkpoint

import autocompress
from autocompress import cli
from autocompress.engine.coordinator import Coordinator
from autocompress.engine.events import Observer
from autocompress.engine.front.dominance import Front
from autocompress.engine.trial import Trial
from autocompress.errors import ConfigError, NothingFeasible, Paused
from autocompress.machine import fingerprint
from autocompress.models import storage
from autocompress.models.loading import load_model
from autocompress.runtimes import isolated
from autocompress.runtimes.onnxruntime.runtime import OnnxRuntime
from autocompress.space import predicted
from autocompress.space.goals import Measurement
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.answers import Answers
from autocompress.trials.artefacts import trial_key
from autocompress.trials.job import Job
from autocompress.trials.scoring import Scorer


class Lowerings:
    """Counts the exports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, whole = 0, OnnxRuntime.lower

        def lower(*args: Any) -> None:
            self.count += 1
            whole(*args)

        monkeypatch.setattr(OnnxRuntime, "lower", lower)


class Interrupting(Observer):
    """Ctrl-C at the n-th training step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self.left -= job.kind == "train"
        if self.left == 0:
            raise KeyboardInterrupt


def facts(trials: list[Trial]) -> list[Any]:
    """What must not depend on whether a search was interrupted."""
    return [(t.number, t.state, t.recipe, t.measurement, t.violations, t.front, t.reason) for t in trials]


def test_a_search_finds_exports_and_serves(project: Path) -> None:
    study = autocompress.search(project)
    assert study.charged() == 4
    first = study.trial(0)
    assert first.recipe.title == "layers+finetune+int8_dynamic", "the anchor comes first"
    assert study.front
    assert all(t.feasible for t in study.front)
    assert min(t.measurement["size_mb"] for t in study.front) < study.baseline.measurement["size_mb"]
    kept = {int(folder.name) for folder in (study.folder / "trials").iterdir()}
    assert kept == {t.number for t in study.front}, "who is not on the front keeps no artefacts"

    best = study.best("best_score")
    out = study.export("out", rule="best_score")
    classify = autocompress.pipeline(out)
    assert [a["label"] for a in classify(["honey tree river", "vinegar stone", "sugar"])] == ["sweet", "sour", "sweet"]
    measured = json.loads((out / "measurement.json").read_text())
    assert measured["trial"]["score"] == best.measurement["score"]
    assert measured["trial"]["test_score"] > 0.8


@pytest.mark.slow
def test_the_front_is_computed_once_for_all_that_ask(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autocompress.search(project, trials=2)
    made, whole = list[int](), Front.add

    def add(self: Front, number: int, measurement: Measurement) -> None:
        made.append(number)
        whole(self, number, measurement)

    monkeypatch.setattr(Front, "add", add)
    study = autocompress.open_study("space")
    assert study.row()["front"] == len(study.front)
    assert study.best() in study.trials
    assert len(made) == len(set(made)) > 0
    autocompress.search(project, trials=3)
    assert len(study.trials) == study.row()["trained"] == 3, "what another process wrote is seen"


def test_a_finished_study_is_left_alone_and_a_larger_budget_adds(project: Path) -> None:
    study = autocompress.search(project, trials=2)
    before = facts(study.trials)
    assert facts(autocompress.search(project, trials=2).trials) == before
    grown = autocompress.search(project, trials=3)
    without_front = [(*fact[:5], fact[6]) for fact in facts(grown.trials)]  # a new trial may beat an old one
    assert without_front[: len(before)] == [(*fact[:5], fact[6]) for fact in before]
    assert grown.charged() == 3


@pytest.mark.parametrize("at", [1, 9, 14])
@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(project: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    whole = autocompress.search(project, name="whole")
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(project.parent / "another"))  # where nothing is trained yet
    with pytest.raises(KeyboardInterrupt):
        autocompress.search(project, name="parts", observer=Interrupting(at))
    assert any(t.state == "running" for t in autocompress.open_study("parts").trials)
    resumed = autocompress.search(project, name="parts")
    assert facts(resumed.trials) == facts(whole.trials)
    for member in whole.front:
        files = [s.folder / "trials" / f"{member.number:03d}" / "artefact" / "model.onnx" for s in (whole, resumed)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_recipe_over_the_limits_is_refused_before_training_and_not_charged(project: Path) -> None:
    project.write_text(SPACE.replace("size_mb <= 0.95 * baseline", "size_mb <= 0.8 * baseline"))
    steps: list[int] = []

    class Watching(Observer):
        def step(self, job: Job, step: int, steps_: int, loss: float) -> None:
            steps.append(job.number)

    study = autocompress.search(project, observer=Watching())
    refused = [t for t in study.trials if t.state == "refused"]
    assert refused
    assert study.charged() == 4
    assert not {t.number for t in refused} & set(steps), "not one training step was taken"
    for t in refused:
        size, limit = t.likeliest["size_mb"], 0.8 * study.baseline.measurement["size_mb"]
        assert t.violations["size_mb <= 0.8 * baseline"] == pytest.approx(size / limit - 1)
        told = f"predicted {predicted.told(t.predicted, 'size_mb')}" if t.predicted else f"{size:.4g}"
        assert t.reason == f"size_mb <= 0.8 * baseline: {told}, the limit is {limit:.4g}"
        assert bool(t.predicted) != bool(t.measurement), "what is predicted is not shown as if it were measured"
        assert "score >= 0.5 * baseline" not in t.violations, "the score is not known"
    assert [t.state for t in study.listed(refused=True)].count("refused") == len(refused)


@pytest.mark.slow
def test_a_structure_seen_before_costs_no_export(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autocompress.search(project, name="first")
    lowerings = Lowerings(monkeypatch)
    study = autocompress.search(project, name="second")
    again = len([t for t in study.trials if t.state == "complete"])
    assert lowerings.count == 1 + again, "the baseline and what was trained; not one rehearsal"


@pytest.mark.slow
def test_the_teacher_is_made_once_for_every_study_of_the_same_data(project: Path) -> None:
    taught: list[int] = []

    class Watching(Observer):
        def step(self, job: Job, step: int, steps: int, loss: float) -> None:
            if job.kind == "baseline":
                taught.append(step)

    autocompress.search(project, trials=1, name="first", observer=Watching())
    assert taught == list(range(1, 17)), "4 epochs of 128 texts in batches of 32"
    autocompress.search(project, trials=1, name="second", observer=Watching())
    assert len(taught) == 16


def test_a_repeated_recipe_is_answered_from_memory_and_a_small_space_ends(project: Path) -> None:
    neurons = "neurons: {keep: 0.5, multiple: 8, importance: l2, rounds: 1}"
    steps = f"  - one_of: [layers: {{keep: 0.5, strategy: top}}, {neurons}]\n"
    project.write_text(
        SPACE.split("anchors:")[0] + "steps:\n" + steps
        + "  - finetune: {epochs: 1, lr: 1e-2, batch_size: 32, freeze_embeddings: false}\n"
    )  # fmt: skip
    study = Study.create(project)
    assert study.space.size == 2
    assert study.run(trials=9) == "the space is exhausted: all 2 of its recipes were tried"
    assert study.charged() == 2
    for t in study.trials:
        if t.state == "duplicate":
            twin = study.trial(t.duplicate_of)
            assert (t.measurement, t.violations) == (twin.measurement, twin.violations)


def test_nothing_feasible_names_what_binds_and_what_would_help(project: Path) -> None:
    project.write_text(SPACE.replace("score >= 0.5 * baseline", "score >= 1.5 * baseline"))
    with pytest.raises(NothingFeasible) as found:
        autocompress.search(project, trials=2)
    assert "What binds is score >= 1.5 * baseline: 2 of the 2 nearest recipes break it." in str(found.value)
    assert re.search(r"would admit t00[01]\.", str(found.value))


def test_a_space_whose_limits_cannot_be_met_ends_without_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.engine.budget._MOST_REFUSED", 5)
    project.write_text(SPACE.replace("size_mb <= 0.95 * baseline", "size_mb <= 0.0001"))
    with pytest.raises(NothingFeasible) as found:
        autocompress.search(project)
    said = str(found.value)
    assert said.startswith("the last 5 recipes were all refused before training. no recipe meets every constraint.")
    assert "What binds is size_mb <= 0.0001" in said
    assert "would admit" in said
    assert autocompress.open_study("space").charged() == 0


def test_a_changed_space_is_refused_with_what_changed(project: Path) -> None:
    autocompress.search(project, trials=1)
    project.write_text(SPACE.replace("0.5 * baseline", "0.6 * baseline"))
    with pytest.raises(ConfigError) as found:
        autocompress.search(project)
    assert "constraints.0: score >= 0.5 * baseline -> score >= 0.6 * baseline" in str(found.value)
    assert "--study space-2" in str(found.value)


@pytest.mark.slow
def test_a_failing_recipe_fails_its_trial_with_its_reason(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.methods.training.finetune import Finetune

    whole = Finetune.apply

    def greedy(self: Finetune, model: Any, ctx: Any) -> Any:
        if ctx.train is not None and len(ctx.losses) == 0 and self.epochs == 2:
            raise MemoryError("cannot allocate 9 GB")
        return whole(self, model, ctx)

    monkeypatch.setattr(Finetune, "apply", greedy)
    study = autocompress.search(project, trials=5)
    failed = [t for t in study.trials if t.state == "failed"]
    assert failed
    assert study.charged() == 5
    assert {t.reason for t in failed} == {"out of memory (MemoryError: cannot allocate 9 GB)"}
    assert "in greedy" in failed[0].traceback


def test_a_full_disk_pauses_the_study_and_charges_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from autocompress.models import storage

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    autocompress.search(project, trials=1)
    monkeypatch.setattr(storage, "save", full)
    with pytest.raises(Paused, match="the disk is full"):
        autocompress.search(project, trials=2)
    monkeypatch.undo()
    assert autocompress.open_study(str(project.parent / "studies" / "space")).charged() == 1


def test_a_study_is_not_continued_on_another_machine(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autocompress.search(project, trials=1)
    monkeypatch.setattr(
        fingerprint, "machine", lambda device: {"cpu": "Z80", "arch": "z80", "system": "CP/M", "cores": "1"}
    )
    with pytest.raises(ConfigError, match=r"the study 'space' was measured on another machine .*'Z80'"):
        autocompress.search(project, trials=2)
    assert autocompress.open_study("space").charged() == 1, "it can still be read"


def test_a_second_coordinator_is_refused(project: Path) -> None:
    study = Study.create(project)
    with (
        study.held(),
        pytest.raises(ConfigError, match=r"the study 'space' is being searched by process \d+ on \S+\. "),
    ):
        study.run()


@pytest.mark.slow
def test_a_trial_that_left_the_front_is_made_again_for_export(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = autocompress.search(project)
    left = [t for t in study.trials if t.state == "complete" and not t.front]
    if not left:
        pytest.fail("this seed's trials are all on the front: choose another")
    place, removed, judged = study.folder / trial_key(left[0].number), list[bool](), Study.judged
    assert not place.exists()

    def tidied_meanwhile(study: Study, chosen: Trial) -> dict[str, float]:
        """A search that begins just now tidies up whatever is not on the front."""
        Coordinator(study.data, study.space, study.store, {}, Observer(), print)
        removed.append(not (place / "artefact").exists())
        return judged(study, chosen)

    monkeypatch.setattr(Study, "judged", tidied_meanwhile)
    out = study.export("out", left[0].number)
    assert removed == [False]
    assert autocompress.pipeline(out)("honey stone")[0]["label"] in ("sweet", "sour")
    (out / "NOTES.txt").write_text("checked by hand")
    with pytest.raises(ConfigError, match=r"added or changed since it was exported: NOTES\.txt"):
        study.export("out")
    assert (out / "NOTES.txt").exists()
    (out / "NOTES.txt").unlink()
    assert study.export("out") == out


class Notes(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def with_teacher(project: Path, teacher: str) -> None:
    project.write_text(SPACE.replace("teacher: {finetune: {epochs: 4, lr: 1e-2, freeze_embeddings: false}}", teacher))


@pytest.mark.parametrize("teacher", ["teacher: as_given", ""])
def test_a_checkpoint_with_a_head_is_the_teacher_as_given(project: Path, teacher: str) -> None:
    with_teacher(project, teacher)
    notes = Notes()
    train_checkpoint(project)
    autocompress.search(project, trials=1, observer=notes)
    assert any(note.endswith("model as given: it is fine-tuned already.") for note in notes.said)
    bench = work.bench_of(autocompress.open_study("space").data)
    assert bench.teacher_training is None
    assert torch.equal(weights(bench.teacher.model), weights(load_model(bench.source, bench.task.labels)))


@pytest.mark.slow
def test_another_checkpoint_is_the_teacher_and_trials_may_begin_from_the_models_own_weights(project: Path) -> None:
    study = autocompress.search(project, trials=1)
    shutil.copytree(project.parent / "model", project.parent / "other")
    storage.save(work.bench_of(study.data).teacher.model, project.parent / "other")
    with_teacher(project, "teacher: ./other\nstart: pretrained")
    second = autocompress.search(project, trials=1, name="second")
    bench = work.bench_of(second.data)
    assert second.baseline.measurement["score"] == study.baseline.measurement["score"]
    assert torch.equal(weights(bench.start), weights(load_model(bench.source, bench.task.labels)))
    assert not torch.equal(weights(bench.start), weights(bench.teacher.model))


def test_a_teacher_without_a_head_for_these_labels_is_refused(project: Path) -> None:
    with_teacher(project, "teacher: as_given")
    config = json.loads((project.parent / "model" / "config.json").read_text())
    (project.parent / "model" / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(ConfigError, match="Got a checkpoint that is not: it has no head for classifying texts"):
        autocompress.search(project)


@pytest.mark.slow
def test_the_torch_runtime_searches_exports_and_serves(project: Path) -> None:
    project.write_text(SPACE.replace("runtime: onnxruntime", "runtime: torch"))
    study = autocompress.search(project, trials=3)
    lowered = [t for t in study.trials if t.recipe and t.recipe[-1].name == "int8_dynamic"]
    assert lowered
    assert {(t.state, t.reason) for t in lowered} == {("complete", "")}
    assert study.baseline
    assert all(t.measurement["size_mb"] < 0.5 * study.baseline.measurement["size_mb"] for t in lowered)
    out = study.export("out")
    assert autocompress.pipeline(out)("honey tree")[0]["label"] == "sweet"
    assert not (out / "model.onnx").exists()


def test_a_length_that_the_model_cannot_read_is_refused(project: Path) -> None:
    project.write_text(SPACE.replace("sequence_length: 16", "sequence_length: 64"))
    with pytest.raises(
        ConfigError, match=r"target\.sequence_length: must be at most 32, which is what this model reads"
    ):
        autocompress.search(project)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


INT8 = "int8_dynamic: {exclude: [none, classifier], per_token: [true, false]}"
ALL = "variant_time: 1000"  # whatever they take
TAILS = SPACE.replace("- one_of: [skip, int8_dynamic]", f"- one_of: [skip, {INT8}]")


@pytest.mark.slow
def test_what_follows_a_training_is_evaluated_from_it_uncharged(project: Path) -> None:
    project.write_text(TAILS.replace("variants: 0", f"variants: 32, {ALL}").replace("size_mb <= 0.95", "size_mb <= 2"))
    steps: list[int] = []

    class Watching(Observer):
        def step(self, job: Job, step: int, steps_: int, loss: float) -> None:
            steps.append(job.number) if job.kind != "baseline" else None

    study = autocompress.search(project, trials=2, observer=Watching())
    parents, variants = ([t for t in study.trials if (t.variant_of is None) is own] for own in (True, False))
    assert study.charged() == 2
    assert {t.number for t in parents if t.charged} == set(steps), "no step for a variant"
    offered = 5  # skip, and two values of each of two knobs
    for parent in [t for t in parents if t.charged]:
        own = [t for t in variants if t.variant_of == parent.number]
        assert len({t.recipe.key for t in [parent, *own]}) == offered
        assert {t.recipe.trained for t in own} == {parent.recipe.trained}
        assert all(t.state == "complete" and t.measurement["score"] > 0 for t in own)
    assert len({t.measurement["size_mb"] for t in study.trials if t.state == "complete"}) > 3
    left = autocompress.search(project, trials=2, observer=Watching())
    assert len(left.trials) == len(study.trials), "nothing is left to do"


@pytest.mark.slow
def test_at_most_so_many_variants_and_a_refused_one_is_not_lowered(project: Path) -> None:
    project.write_text(
        TAILS.replace("variants: 0", f"variants: 2, {ALL}").replace("0.95 * baseline", "0.56 * baseline")
    )
    study = autocompress.search(project, trials=1)
    variants = [t for t in study.trials if t.variant_of is not None]
    assert len(variants) == 2
    assert {t.state for t in variants} <= {"complete", "refused"}
    assert all(t.reason.startswith("size_mb <= 0.56 * baseline") for t in variants if t.state == "refused")


@pytest.mark.slow
def test_trainings_that_fall_behind_are_stopped_and_say_to_whom(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lr = "lr: {low: 1e-3, high: 1e-2, log: true}"
    space = SPACE.split("anchors:")[0] + "steps:\n"
    space += f"  - one_of: [skip, layers: {{keep: 0.5}}]\n  - finetune: {{epochs: 2, {lr}, freeze_embeddings: false}}\n"
    project.write_text(space.replace("trials: 4", "trials: 12, rungs: stop").replace("0.95 * base", "2 * base"))
    ranks = iter([0.9] * 12 + [0.1] * 40)  # from the seventh training on, everything is worse
    monkeypatch.setattr(Scorer, "rung", lambda self, model: next(ranks))
    trained = Counter[tuple[int, str]]()

    class Watching(Observer):
        def step(self, job: Job, step: int, steps: int, loss: float) -> None:
            trained[job.number, job.kind] += 1

    study = autocompress.search(project, observer=Watching())
    assert study.charged() == 12
    stopped = [t for t in study.trials if t.state == "stopped"]
    assert stopped
    for t in stopped:
        assert t.rungs
        assert "score" not in t.measurement
        assert t.measurement["size_mb"] > 0
        assert t.reason.startswith("scored 0.100 at ")
        assert " at best it loses to t0" in t.reason
        assert trained[t.number, "train"] == t.measurement["training_steps"] < 8
    done = [t for t in study.trials if t.state == "complete"]
    assert all(list(t.rungs) == ["0.111", "0.333"] for t in done)
    assert not {f.name for f in (study.folder / "trials").iterdir()} & {f"{t.number:03d}" for t in stopped}


@pytest.mark.slow
def test_finalists_are_trained_with_other_seeds_and_the_rule_goes_by_their_means(project: Path) -> None:
    project.write_text(SPACE.replace("confirm: {top: 0}", "confirm: {top: 2, seeds: 3}, rule: best_score"))
    steps: list[tuple[int, int]] = []

    class Watching(Observer):
        def step(self, job: Job, step: int, steps_: int, loss: float) -> None:
            steps.append((job.number, job.repeat))

    study = autocompress.search(project, observer=Watching())
    finalists = set(study.confirmed)
    assert len(finalists) == min(2, len(study.front))
    assert {repeat for number, repeat in steps if number in finalists} >= {1, 2}
    done = [t for t in study.trials if t.state == "complete"]
    answers = Answers(study.artefacts, study.space.task)
    for t in done:
        gain, _ = answers.difference(t.number, done[0].number) or (None, None)
        assert gain == pytest.approx(t.measurement["score"] - done[0].measurement["score"]), "of the first seed"
    for mean in study.confirmed.values():
        assert mean["seeds"] == 3
        assert mean["score_low"] <= mean["score"] <= mean["score_high"]
    assert study.best().number == max(finalists, key=lambda n: study.confirmed[n]["score"])
    assert study.charged() == 4
    assert not [f for f in (study.folder / "trials").iterdir() if "-" in f.name]
    taken = len(steps)
    autocompress.search(project, observer=Watching())
    assert len(steps) == taken, "confirmed once"
    measured = json.loads((study.export("out") / "measurement.json").read_text())["trial"]
    assert measured["mean_score"] == study.confirmed[study.best().number]["score"]


CONFIRMED = SPACE.replace("confirm: {top: 0}", "confirm: {top: 1, seeds: 2}, rule: best_score").replace(
    "constraints:", "constraints:\n  - latency_ms <= 0.9 * baseline"
)


def slow_again(monkeypatch: pytest.MonkeyPatch, *, but_from: int) -> None:
    """The finalists before the n-th are slower in a process of their own than the search measured."""
    fast, measured = isolated.latency(), list[Path]()

    def latency(candidate: Path, *rest: Any) -> dict[str, float]:
        measured.append(candidate)
        slow = {"speedup": 1.0, "speedup_low": 0.9, "speedup_high": 1.1, "latency_quiet": 0.0}
        return fast | (slow if len(measured) <= but_from else {})

    monkeypatch.setattr(isolated, "latency", latency)


@pytest.mark.slow
def test_confirmation_goes_down_the_front_until_a_finalist_keeps_the_limits(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text(CONFIRMED)
    slow_again(monkeypatch, but_from=1)
    study = autocompress.search(project)
    first, second = study.finalists().trials
    assert study.confirmed.keys() == {first.number, second.number}
    assert study.best() == second
    assert study.broken(second) == []
    assert study.broken(first) == ["latency_ms <= 0.9 * baseline: 3.333, 23% above the limit of 2.7"]
    card = (study.export("out") / "README.md").read_text()
    assert "does not keep" not in card
    assert "others on this machine went on" not in card


@pytest.mark.slow
def test_if_nothing_keeps_the_limits_it_is_said_everywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write_text(CONFIRMED)
    slow_again(monkeypatch, but_from=99)
    excess = "latency_ms <= 0.9 * baseline: 3.333, 23% above the limit of 2.7"
    monkeypatch.setattr("sys.argv", ["autocompress", "search", "space.yaml", "--register", "reviews"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    study, said = autocompress.open_study("space"), capsys.readouterr()
    assert ended.value.code == 3
    assert study.confirmed.keys() == {t.number for t in study.front}
    assert "Nearest by best_score: " in said.out
    assert "Chosen" not in said.out
    assert said.err.startswith("no finalist keeps every limit when it is measured again. The nearest, t0")
    assert f" breaks {excess}. It was not registered: autocompress export space --trial " in said.err
    card = (project.parent / "exported" / "space" / "README.md").read_text()
    assert f"**It does not keep every limit of its study.** It breaks:\n\n- `{excess}`" in card
    assert "measured in a process of its own, and others on this machine went on measuring or training while" in card
    nearest = study.best()
    with pytest.raises(NothingFeasible) as refused:
        study.register(project.parent / "exported" / "space", "reviews", nearest.number)
    assert str(refused.value).startswith(f"{nearest.label} breaks {excess}. It was not registered: autocompress export")
    monkeypatch.setattr("sys.argv", ["autocompress", "export", "space", "--to", "again"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert excess in capsys.readouterr().err
    with pytest.warns(UserWarning, match="t0.* breaks latency_ms <= 0.9"):
        study.export("out")


@pytest.mark.slow
def test_a_choice_that_was_not_confirmed_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write_text(CONFIRMED)
    monkeypatch.setattr("sys.argv", ["autocompress", "search", "space.yaml", "--trials", "1"])
    with monkeypatch.context() as patch:
        patch.setattr("autocompress.engine.confirmation.lives", lambda *a: iter(()))
        with suppress(SystemExit):
            cli.main()
    assert (
        "It was not confirmed with other seeds: its figures are those of the search. It is in"
        in capsys.readouterr().out
    )
    with suppress(SystemExit):
        cli.main()
    said = capsys.readouterr().out
    assert "Chosen by best_score" in said
    assert "not confirmed" not in said


@pytest.mark.slow
def test_a_finalist_that_came_back_to_the_front_is_made_again(project: Path) -> None:
    project.write_text(CONFIRMED)
    study = autocompress.search(project, trials=1)
    place = study.folder / "trials" / "000"
    shutil.rmtree(place)  # as when it left the front
    notes = Notes()
    autocompress.search(project, trials=1, observer=notes)
    assert (place / "remeasured.json").exists()
    assert not [said for said in notes.said if "keeps the latency" in said]


@pytest.mark.slow
def test_what_a_crashed_confirmation_left_is_deleted_by_the_next(project: Path) -> None:
    project.write_text(CONFIRMED)
    study = autocompress.search(project, trials=1)
    left = study.folder / "trials" / "099-1"
    left.mkdir()
    autocompress.search(project, trials=1)
    assert not left.exists()


@pytest.mark.slow
def test_three_alike_that_nobody_expects_pause_the_study(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, *args: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    autocompress.search(project, trials=1)
    monkeypatch.setattr("autocompress.trials.work._finished", broken)
    with pytest.raises(
        Paused, match=r"the last 3 trials failed alike, the latest with: ZeroDivisionError: a bug of ours"
    ):
        autocompress.search(project, trials=9)
    study = autocompress.open_study("space")
    assert [t.state for t in study.trials if t.charged] == ["complete", "failed", "failed", "failed"]
    assert "in broken" in study.trials[-1].traceback


@pytest.mark.slow
def test_hours_of_training_are_a_budget_over_every_resume(project: Path) -> None:
    study = Study.create(project)
    with pytest.raises(NothingFeasible, match=r"^the hours of training are used up"):
        study.run(trials=3, training_hours=1e-9)
    assert study.charged() == 0, "the teacher took them"
    taught = study.baseline.seconds["train"] / 3600
    assert study.run(trials=3, training_hours=taught + 1e-9) == "the hours of training are used up"
    assert study.charged() == 1
    assert study.run(trials=3, training_hours=1e-9) == "the hours of training are used up"
    assert study.charged() == 1
    assert study.run(trials=2) == ""
    assert study.charged() == 2


@pytest.mark.slow
def test_progress_is_kept(project: Path) -> None:
    study = autocompress.search(project)
    points = study.progress
    assert [p.trials for p in points if p.trials][-1] == 4
    assert [p.seconds for p in points] == sorted(p.seconds for p in points)
    volumes = [p.hypervolume for p in points]
    assert volumes == sorted(volumes)
    assert 0 < volumes[-1] < 1
    rows = [json.loads(line) for line in (study.folder / "progress.jsonl").read_text().splitlines()]
    assert [row["search/hypervolume"] for row in rows] == volumes
