"""Measure an exported folder again: are its score, its latency and its size still what its files say?

A score is compared on the same texts only, a latency on the same machine only; otherwise they are just reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autocompress.errors import ConfigError, Unmeasured, foreign, reason
from autocompress.machine import fingerprint
from autocompress.runtimes import isolated, latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving.folder import Measured, digest_of, read_measured
from autocompress.serving.pipeline import Pipeline
from autocompress.space.settings import TaskSettings
from autocompress.tasks.data.splits import Split, load_texts
from autocompress.tasks.data.table_files import FORMATS
from autocompress.tasks.dataset import Examples
from autocompress.tasks.kind import Answer, Label, Row
from autocompress.tasks.workload import Workload

_LATENCY_SHARE = 0.15  # an unchanged session drifts by this much; what a busy machine measured may get faster by more

_ANY = {"input_ids": [[0]]}  # for what the runs of a kind are called


@dataclass(frozen=True)
class Check:
    """One quantity: as stored, as it is now, and whether they agree. None: they were not compared, and why."""

    quantity: str
    stored: float
    now: float | None
    agrees: bool | None
    verdict: str


def verify(folder: Path, data: str | None = None) -> list[Check]:
    """Measure `folder` again, the score on `data` (a file, or what `task.data` may be), else on the study's texts.

    Relative paths of the study's own data start at the current folder. Nothing is downloaded unless `data` says so.
    """
    pipeline, measured = Pipeline(folder), read_measured(folder)
    if missing := _needed(pipeline) - set(measured.trial):
        raise ConfigError(f"{folder}: measurement.json should hold {min(missing)}. Export the model again.")
    return [_score(pipeline, measured, data), *_latencies(pipeline, measured), _size(pipeline, measured, folder)]


def _needed(pipeline: Pipeline) -> set[str]:
    figures = {f"{run.figures}latency_ms" for run in pipeline.kind.workloads(_ANY)}
    return {"score", "test_score", "size_mb"} | {f"{name}{end}" for name in figures for end in ("", "_low", "_high")}


def _score(pipeline: Pipeline, measured: Measured, data: str | None) -> Check:
    stored = measured.trial["score"]
    settings = pipeline.serving.task.model_copy(update={"unlabelled": ""})  # they are not scored: nor are they read
    if data is None and not _is_here(settings.data):
        return Check("score", stored, None, None, "not measured: the study's texts are not here, give --data")
    name, split, labels = _chosen(pipeline, settings if data is None else _pointed_at(settings, data))
    answered, truth = _answered(pipeline, split, labels)
    now = pipeline.kind.score(answered, truth)
    if name is None:
        return Check("score", stored, now, None, f"not compared: {len(split.labels)} other texts than the study's")
    stored = measured.trial[name]
    worth = pipeline.kind.one_answer(answered, truth)  # another processor rounds otherwise
    agrees = abs(now - stored) <= worth + 1e-9
    return Check(name, stored, now, agrees, _word(agrees))


def _chosen(pipeline: Pipeline, settings: TaskSettings) -> tuple[str | None, Split, tuple[str, ...]]:
    """The split of these data that the study scored and what it called the score; else None and all there is."""
    texts, known = load_texts(settings, pipeline.serving.seed, Path()), pipeline.serving.texts
    for name, stored, split in (
        ("score", known.validation, texts.validation), ("test_score", known.test, texts.test)
    ):  # fmt: skip
        if digest_of(split.texts, split.labels, texts.kind) == stored:
            return name, split, texts.labels
    one_file = isinstance(settings.data, dict) and len(set(settings.data.values())) == 1
    return None, texts.train if one_file else texts.validation, texts.labels


def _answered(pipeline: Pipeline, split: Split, names: tuple[str, ...]) -> tuple[list[Answer], list[Label]]:
    """Answers and labels, N each, as in the study: the texts in its order, in batches of the target's size."""
    unknown = sorted(set(names) - set(pipeline.labels))
    if unknown:
        raise ConfigError(
            f"--data: every label should be one of the model's: {', '.join(pipeline.labels)}. Got {unknown[0]!r}."
        )
    kind, ours = pipeline.kind, [pipeline.labels.index(name) for name in names]
    labels = [kind.label(tuple(ours[number] for number in kind.numbers(label))) for label in split.labels]
    examples = _examples(pipeline, split.texts, labels, pipeline.serving.task.max_length)
    return latency.answers(pipeline.session, kind, examples, pipeline.target.batch_size), labels


def _latencies(pipeline: Pipeline, measured: Measured) -> list[Check]:
    """In processes of their own. Of any tokens: their values do not matter, their number does."""
    rows = [("text",) * len(pipeline.serving.task.text)]
    examples = _examples(pipeline, rows, [pipeline.kind.label((0,))], 8)
    batch = latency.latency_batch(examples, pipeline.target)
    pipeline.session.run(batch)  # a stranger's model that gives no labels is refused, however long it takes
    return [_latency(pipeline, measured, run) for run in pipeline.kind.workloads(batch)]


def _latency(pipeline: Pipeline, measured: Measured, run: Workload) -> Check:
    name = f"{run.figures}latency_ms"
    stored, low, high = (measured.trial[f"{name}{end}"] for end in ("", "_low", "_high"))
    before = {} if run.before is None else {"before": run.before}
    try:
        now = isolated.absolute_latency(pipeline.folder, run.batch, pipeline.target, **before)
    except (MemoryError, Unmeasured) as e:
        return Check(name, stored, None, False, str(e))
    if measured.machine != fingerprint.machine(measured.target.device):
        where = measured.machine.get("cpu", "an unknown machine")
        return Check(name, stored, now, None, f"not compared: it was measured on {where}")
    agrees = now <= max(stored * (1 + _LATENCY_SHARE), high)
    faster = now < min(stored * (1 - _LATENCY_SHARE), low)
    return Check(name, stored, now, agrees, "agrees: faster" if faster else _word(agrees))


def _examples(pipeline: Pipeline, rows: Sequence[Row], labels: Sequence[Label], max_length: int) -> Examples:
    try:
        return pipeline.kind.examples(pipeline.tokenizer, rows, labels, max_length)
    except BaseException as e:
        if not foreign(e):
            raise
        raise ConfigError(f"{pipeline.folder}: should hold a tokenizer that reads any text. Got: {reason(e)}.") from e


def _size(pipeline: Pipeline, measured: Measured, folder: Path) -> Check:
    now, stored = latency.size_mb(find_runtime(pipeline.target.runtime).artefact(folder)), measured.trial["size_mb"]
    return Check("size_mb", stored, now, now == stored, _word(now == stored))


def _pointed_at(settings: TaskSettings, data: str) -> TaskSettings:
    """The task with other data. A single file stands for every split, and is not cut."""
    if Path(data).suffix not in FORMATS:
        return settings.model_copy(update={"data": data})
    limit = {split: count for split, count in settings.limit.items() if split != "train"}
    every = {"train": data, "validation": data, "test": data}
    return settings.model_copy(update={"data": every, "limit": limit})


def _is_here(data: object) -> bool:
    """Whether these texts lie below the current folder: an exported folder has no say over any other."""
    if isinstance(data, dict):
        return all(_is_below(file) and Path(file).is_file() for file in data.values())
    return str(data).startswith("builtin/") or (_is_below(str(data)) and Path(str(data)).is_dir())


def _is_below(place: str) -> bool:
    return not Path(place).is_absolute() and ".." not in Path(place).parts


def _word(agrees: bool) -> str:
    return "agrees" if agrees else "differs"
