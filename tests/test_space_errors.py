"""Wrong search spaces: every mistake at once, each as one whole sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autocompress.errors import ConfigError
from autocompress.space.search_space import SearchSpace

HEAD = "model: builtin/minilm\ntask: {data: builtin/docstrings}\n"
KEYS = "model, methods, teacher, start, task, target, objectives, constraints, search, anchors, steps"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mistakes(text: str) -> list[str]:
    """What reading a file with this text says, without the file's name."""
    Path("a.yaml").write_text(text)
    with pytest.raises(ConfigError) as e:
        SearchSpace.load("a.yaml")
    lines = str(e.value).splitlines()
    assert all(line.startswith("a.yaml:") for line in lines)
    return [line.removeprefix("a.yaml:") for line in lines]


def test_all_mistakes_are_said_at_once_in_the_order_of_the_lines() -> None:
    text = """\
modle: builtin/minilm
teacher: {finetun: {epochs: 3}}
start: pretraind
task:
  kind: text-clasification
  max_length: 4
  limit: {trian: 5, test: x}
  text: [a, b, c]
  label: 1
target: {runtime: tflite, thread: 1, batch_size: true}
objectives: {score: minimize, latency: minimize}
constraints:
  - scor >= 0.9 * baseline
  - size_mb <= 40
  - size_mb<=40.0
search: 5
anchors:
  - layers
  - [one_of, {low_rank: {keep: [0.5]}}]
steps:
  - skip
  - layer
  - low_rank: {keep: 1.2, kep: 1}
  - finetune: {lr: {low: 1e-3, high: 1e-4, log: true}, epochs: true, batch_size: {low: 1}}
  - one_of: [skip, skip, [], low_rank: 5]
  - 5
  - one_of: []
"""
    assert mistakes(text) == [
        "1: there is no key 'modle'. Did you mean 'model'?",
        "2: teacher should be as_given, {finetune: {epochs: 3}} or another checkpoint. Got {'finetun': {'epochs': 3}}.",
        "3: start may not be 'pretraind'. Did you mean 'pretrained'?",
        "4: task needs the key 'data'.",
        "5: task.kind may not be 'text-clasification'. Did you mean 'text-classification'?",
        "6: task.max_length should be greater than or equal to 8. Got 4.",
        "7: task.limit has no key 'trian'. Did you mean 'train'?",
        "7: task.limit.test should be a whole number. Got 'x'.",
        "8: task.text should be a column's name, or two for pairs of texts. Got ['a', 'b', 'c'].",
        "9: task.label should be text. Got 1.",
        "10: target.runtime may not be 'tflite'. It may be: torch, onnxruntime, openvino.",
        "10: target.batch_size should be a whole number. Got True.",
        "10: target has no key 'thread'. Did you mean 'threads'?",
        "11: objectives.score should be 'maximize'. Got 'minimize'.",
        "11: there is no quantity 'latency'. Did you mean 'latency_ms'?",
        "13: there is no quantity 'scor'. Did you mean 'score'?",
        "15: 'size_mb <= 40' stands twice.",
        "16: search should hold keys and values: "
        "trials, seed, sampler, built_in_anchors, rungs, variants, variant_time, training_precision, predict, rule, "
        "confirm. Got 5.",
        "18: a recipe is a list of steps, such as [layers, finetune]. Got 'layers'.",
        "19: a recipe is decided: it has no one_of. Got 'one_of'.",
        "19: low_rank.keep should be one value here. Got [0.5].",
        "21: skip is an option of one_of, not a step: a step that is never taken says nothing.",
        "22: there is no method 'layer'. Did you mean 'layers'?",
        "23: low_rank.keep should be less than 1. Got 1.2.",
        "23: low_rank has no knob 'kep'. It has: keep, scope.",
        "24: finetune.lr: low must be less than high. Got low=0.001, high=0.0001.",
        "24: finetune.epochs should be a number, not yes or no. Got True.",
        "24: finetune.batch_size: a range needs both low and high. Got {'low': 1}.",
        "25: this option stands twice in its one_of.",
        "25: this list of steps is empty. Write skip.",
        "25: low_rank: knobs are written as {knob: value}. Got 5. It has: keep, scope.",
        "26: a step is a method's name, alone or as {name: {knob: value}}. Got 5.",
        "27: one_of should be a list of options, such as [skip, layers]. Got [].",
    ]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", [f"1: a search space is a mapping with the keys {KEYS}. The file is empty."]),
        ("# nothing yet\n", [f"1: a search space is a mapping with the keys {KEYS}. The file is empty."]),
        ("- a\n- b\n", [f"1: a search space is a mapping with the keys {KEYS}. Got a list."]),
        ("model\n", [f"1: a search space is a mapping with the keys {KEYS}. Got a str."]),
        ("seed: 1\n", [
            f"1: there is no key 'seed'. Keys: {KEYS}.",
            "1: a search space needs the key 'model'.",
            "1: a search space needs the key 'task'.",
            "1: a search space needs the key 'steps'.",
        ]),
        ("a: b: c\n", ["1: this is not YAML: mapping values are not allowed here."]),
        ("a: 1\n\tb: 2\n", ["2: this is not YAML: found character '\\t' that cannot start any token."]),
        ("a: [1, 2\nb: 3\n", ["2: this is not YAML: expected ',' or ']', but got ':'."]),
        ("a: \x07\n", ["1: this is not YAML: unacceptable character #x0007: special characters are not allowed."]),
        ("a: 1\n---\nb: 2\n", ["2: this is not YAML: but found another document."]),
        (
            "a: !!python/name:os.system\n",
            ["1: this is not YAML: could not determine a constructor for the tag "
             "'tag:yaml.org,2002:python/name:os.system'."],
        ),
        ("model: a\ntask: {data: b}\nmodel: c\n", ["3: the key 'model' stands twice."]),
        ("model: a\n? [b]\n: c\n", ["1: a key should be a word, not a list or a mapping."]),
        ("model: &a [*a]\n", ["1: this refers to itself."]),
        ("model: 2026-02-30\n", [
            "1: this looks like a date or a number, and is none: day is out of range for month. Put it in quotes.",
        ]),
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_form_is_refused(text: str, messages: list[str]) -> None:
    assert mistakes(text) == messages


@pytest.mark.parametrize(
    ("key", "messages"),
    [
        ("start: 5", ["3: start may not be 5. It may be: teacher, pretrained."]),
        ("teacher: 5", ["3: teacher should be as_given, {finetune: {epochs: 3}} or another checkpoint. Got 5."]),
        ("teacher: {finetune: {epochs: [1, 2]}}", ["3: finetune.epochs should be one value here. Got [1, 2]."]),
        ("search: {trials: 0}", ["3: search.trials should be greater than or equal to 1. Got 0."]),
        ("objectives: {}", [
            "3: objectives should be a mapping such as {score: maximize, latency_ms: minimize, size_mb: minimize}. "
            "Got {}.",
        ]),
        ("constraints: size_mb <= 40", [
            "3: constraints should be a list, one limit a dash. Got 'size_mb <= 40'.",
        ]),
        ("constraints:\n  - size_mb: 40", [
            "4: a constraint reads 'score >= 0.98 * baseline' or 'size_mb <= 40'. Got {'size_mb': 40}.",
        ]),
        ("anchors: finetune", ["3: anchors should be a list of recipes. Got 'finetune'."]),
    ],
)  # fmt: skip
def test_a_wrong_section_is_refused(key: str, messages: list[str]) -> None:
    assert mistakes(f"{HEAD}{key}\nsteps: [finetune]\n") == messages


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("5", "task.data should be a data set's name, or files by split: {train: a.csv, validation: b.csv}. Got 5."),
        (
            "{trian: a.csv}",
            "task.data should name files by split, train at least: {train: a.csv, validation: b.csv, test: c.csv}. "
            "Got {'trian': 'a.csv'}.",
        ),
    ],
)
def test_wrong_data_is_refused_in_one_sentence(data: str, message: str) -> None:
    assert mistakes(f"model: m\ntask:\n  data: {data}\nsteps: [finetune]\n") == [f"3: {message}"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("low_rank: {keep: {low: 0.2, high: 0.8, stp: 0.1}}",
         "low_rank.keep: a range has no 'stp'. Did you mean 'step'?"),
        ("low_rank: {keep: {low: 0.2, high: 1.0}}", "low_rank.keep should be less than 1. Got 1.0."),
        ("low_rank: {keep: {low: 0.2, high: 0.8, step: 0.4}}",
         "low_rank.keep: no number of steps leads from low to high. Got low=0.2, high=0.8, step=0.4."),
        ("low_rank: {keep: {low: 0.2, high: 0.8, step: 0}}", "low_rank.keep: step should be a number above 0. Got 0."),
        ("low_rank: {keep: {low: 0.2, high: 0.8, step: x}}",
         "low_rank.keep: step should be a number above 0. Got 'x'."),
        ("low_rank: {keep: {low: 0.2, high: 0.8, log: 2}}", "low_rank.keep: log should be true or false. Got 2."),
        ("low_rank: {keep: {low: 0.2, high: 0.8, log: true, step: 0.1}}",
         "low_rank.keep: a range is either log or has a step, not both. Got step=0.1."),
        ("finetune: {epochs: {low: 1, high: 3, step: 0.5}}",
         "finetune.epochs: step should be a whole number above 0. Got 0.5."),
        ("finetune: {warmup: {low: 0, high: 0.5, log: true}}",
         "finetune.warmup: a log range must start above 0. Got low=0.0."),
        ("low_rank: {scope: {low: all, high: ffn}}",
         "low_rank.scope is not a number, so it has no range. Give a list of choices. "
         "Got {'low': 'all', 'high': 'ffn'}."),
        ("low_rank: {keep: []}", "low_rank.keep: a choice needs at least one value. Got []."),
        ("low_rank: {keep: [0.5, 5e-1]}", "low_rank.keep: 0.5 stands twice in the choice. Got [0.5, '5e-1']."),
        ("low_rank: {keep: [[0.5]]}", "low_rank.keep should be one value here. Got [0.5]."),
        ("low_rank: {keep: }", "low_rank.keep should be a valid number. Got None."),
        ("finetune: {weight_decay: .inf}", "finetune.weight_decay should be a finite number. Got inf."),
        ("finetune: {lr: fast}",
         "finetune.lr should be a valid number, unable to parse string as a number. Got 'fast'."),
        ("one_of: finetune", "one_of should be a list of options, such as [skip, layers]. Got 'finetune'."),
        ("one_of: [skip, finetune, [finetune]]", "this option stands twice in its one_of."),
        ("[layers, heads]", "a step is a method's name, alone or as {name: {knob: value}}. Got ['layers', 'heads']."),
    ],
)  # fmt: skip
def test_a_wrong_step_is_refused(step: str, message: str) -> None:
    assert mistakes(f"{HEAD}steps:\n  - finetune\n  - {step}\n") == [f"5: {message}"]


def test_two_methods_behind_one_dash_are_refused() -> None:
    text = f"{HEAD}steps:\n  - layers: {{keep: 0.5}}\n    heads:\n  - finetune\n"
    assert mistakes(text) == ["4: a step is one method. Got layers and heads together: give each its own dash."]


LATE = "comes after int8_dynamic: shapes are final once a precision is chosen"
UNTRAINED = "soft_labels needs a later finetune: it only acts while that one trains"
TWICE = "int8_dynamic stands twice: a tensor has one precision"


@pytest.mark.parametrize(
    ("steps", "messages"),
    [
        ("[one_of: [skip, soft_labels], int8_dynamic]", [f"soft_labels can never be used here: {UNTRAINED}."]),
        ("[int8_dynamic, one_of: [skip, layers], finetune]", [f"layers can never be used here: layers {LATE}."]),
        ("[int8_dynamic, one_of: [skip, int8_dynamic]]", [f"int8_dynamic can never be used here: {TWICE}."]),
        (
            "[one_of: [skip, int8_dynamic], heads, soft_labels]",
            [
                f"soft_labels can never be used here: {UNTRAINED}.",
                f"int8_dynamic can never be used here: heads {LATE}.",
            ],
        ),
        ("[finetune, int8_dynamic, heads]", [f"heads can never be used here: heads {LATE}."]),
        (
            "[one_of: [skip, [int8_dynamic, layers]], one_of: [skip, soft_labels]]",
            [f"soft_labels can never be used here: {UNTRAINED}.", f"layers can never be used here: layers {LATE}."],
        ),
    ],
)
def test_a_step_that_can_never_work_is_refused_where_it_stands(steps: str, messages: list[str]) -> None:
    assert mistakes(f"{HEAD}steps: {steps}\n") == [f"3: {message}" for message in messages]


def test_a_step_that_works_in_some_recipes_is_accepted() -> None:
    options = ("int8_dynamic", "layers, soft_labels", "finetune")
    steps = ", ".join(f"one_of: [skip, {option}]" for option in options)
    Path("a.yaml").write_text(f"{HEAD}steps: [{steps}]\n")
    assert SearchSpace.load("a.yaml").size is None


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        ("[low_rank: {keep: 0.9}, finetune]",
         "the space cannot hold step 1 of the recipe, low_rank: low_rank.keep = 0.9 is not within [0.5, 0.25]."),
        ("[heads, finetune]",
         "the space cannot hold step 1 of the recipe, heads: heads is not offered here: low_rank comes next."),
        ("[low_rank, finetune, finetune]",
         "the space cannot hold step 3 of the recipe, finetune: the space has no step left."),
        ("[low_rank, soft_labels]",
         f"this recipe cannot work: {UNTRAINED}."),
        ("[low_ran]", "there is no method 'low_ran'. Did you mean 'low_rank'?"),
    ],
)  # fmt: skip
def test_an_anchor_outside_of_the_space_is_refused(anchor: str, message: str) -> None:
    steps = "[low_rank: {keep: [0.5, 0.25]}, one_of: [skip, soft_labels], one_of: [skip, finetune]]"
    assert mistakes(f"{HEAD}anchors:\n  - [low_rank, finetune]\n  - {anchor}\nsteps: {steps}\n") == [f"5: {message}"]


def test_files_that_cannot_be_read_are_named() -> None:
    Path("latin.yaml").write_bytes(b"model: \xe9\n")
    Path("folder").mkdir()
    told: dict[str, Any] = {}
    for name in ("nowhere.yaml", "folder", "latin.yaml"):
        with pytest.raises(ConfigError) as e:
            SearchSpace.load(name)
        told[name] = str(e.value)
    assert told == {
        "nowhere.yaml": "nowhere.yaml: there is no such file.",
        "folder": "folder: this is a folder. Name the YAML file in it.",
        "latin.yaml": "latin.yaml: this is not text in UTF-8.",
    }


def test_plain_data_has_places_instead_of_lines() -> None:
    data = {"model": "m", "task": {"data": "d"}, "steps": ["layer", {"one_of": ["skip", {"low_rank": {"keep": 2}}]}]}
    with pytest.raises(ConfigError) as e:
        SearchSpace.parse(data)
    assert str(e.value).splitlines() == [
        "steps.0: there is no method 'layer'. Did you mean 'layers'?",
        "steps.1.one_of.1.low_rank.keep: low_rank.keep should be less than 1. Got 2.",
    ]


def test_a_section_within_a_section_names_its_own_keys(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("model: m\ntask: {data: d}\nsearch: {confirm: {top: -1, also: 2}}\nsteps: [finetune]\n")
    with pytest.raises(ConfigError) as error:
        SearchSpace.load(file)
    assert str(error.value).splitlines() == [
        f"{file}:3: search.confirm.top should be greater than or equal to 0. Got -1.",
        f"{file}:3: search.confirm has no key 'also'. It has: top, seeds.",
    ]


def test_only_torch_compiles() -> None:
    assert mistakes(f"{HEAD}target: {{compile: true, runtime: onnxruntime}}\nsteps: [finetune]\n") == [
        "3: target.compile is for the torch runtime: leave it out, or write runtime: torch. Got True."
    ]
    assert mistakes(f"{HEAD}target: {{runtime: torch, compile: 1}}\nsteps: [finetune]\n") == [
        "3: target.compile should be true or false. Got 1."
    ]


def test_settings_of_the_search_that_came_later() -> None:
    assert mistakes(f"{HEAD}search: {{predict: maybe, training_precision: bf16}}\nsteps: [finetune]\n") == [
        "3: search.training_precision may not be 'bf16'. Did you mean 'bfloat16'?",
        "3: search.predict should be true or false. Got 'maybe'.",
    ]


def test_references_to_references_are_counted() -> None:
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9)]
    said = " a file may hold 100000 values, counted wherever * refers to them. Got more."
    assert mistakes("\n".join(lines)) == [said]
