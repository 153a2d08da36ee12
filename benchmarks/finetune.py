"""What a fine-tuning takes, against the Trainer of Hugging Face. About 25 minutes on 2 quiet cores.

    python -m benchmarks.finetune [--train FILE --text COLUMN --label COLUMN] [--texts 1200] [--epochs 3] [--seeds 3]

`builtin/minilm` on short texts (builtin/docstrings, if no file is given), with the same head, batches of 32, schedule,
fused AdamW and trained parameters (all but the embedding tables), float32, and padding no further than a batch's
longest text on either side. Distillation: our `soft_labels`, and a subclass of Trainer that asks the teacher in every
step; what our teacher's answers take, once a study, is said besides. The sides train one after the other, in another
order for each seed, so that a ratio is one of neighbours in time. Two rows have no bar: the Trainer with batches of
like length, and besides in bfloat16: where the CPU has no such products that takes an hour, and --bfloat16.

Utilisation: the multiply-adds of tokens that are no padding, over seconds, as a share of what a large matrix product of
this machine comes to on as many threads. Losses are compared by tenths of the training, over the seeds.

Bars: 1.5 times the Trainer's examples a second, 2 times with distillation, in the mean of the seeds; every tenth of the
loss curve within three standard errors. Writes results/finetune.{json,md}; exit code 1 if a bar is missed. The Trainer
takes `pip install 'autocompress[benchmarks]'`.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.machine import fingerprint, instructions
from autocompress.methods.context import Context, Course, Interruptible, Teacher
from autocompress.methods.losses import SoftLabelLoss
from autocompress.methods.training.finetune import Finetune, freeze_embeddings
from autocompress.models import loading
from autocompress.space.settings import Target, TaskSettings
from autocompress.tasks.task import Task
from autocompress.trials import teacher as teachers
from benchmarks.finetune_table import BARS, bars, distance, table, tenths
from benchmarks.finetune_trainer import TEMPERATURE, Losses, by_trainer, clock

RESULTS = Path(__file__).parent / "results"
FEWER_BITS = "Trainer, like lengths, bfloat16"
MODEL, BATCH, LR = "builtin/minilm", 32, 1e-4


@dataclass(frozen=True)
class Setting:
    """What is the same for every side."""

    task: Task
    start: nn.Module
    teacher: nn.Module
    logits_NC: Tensor
    epochs: int


@dataclass(frozen=True)
class Ran:
    """One training."""

    seconds: float
    losses: list[float]  # of every step
    accuracy: float  # on validation texts


Side = Callable[[Setting, int], tuple[nn.Module, float, list[float]]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", default="", help="a table of texts; else builtin/docstrings")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    for name, value in {"texts": 1200, "epochs": 3, "seeds": 3, "max-length": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu", action="store_true", help="count seconds of CPU, where others compute here too")
    parser.add_argument("--bfloat16", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.cpu:
        clock.now = time.process_time
    at_best = peak()
    setting, answered = prepared(asked)
    runs: dict[str, list[Ran]] = {name: [] for name in SIDES}
    for seed in range(asked.seeds):
        order = list(SIDES)[seed % len(SIDES) :] + list(SIDES)[: seed % len(SIDES)]
        for name in order if seed % 2 == 0 else reversed(order):
            if name == FEWER_BITS and not (asked.bfloat16 or instructions.has_bfloat16()):
                continue
            runs[name].append(one(SIDES[name], setting, seed))
            last = runs[name][-1]
            print(f"seed {seed}, {name}: {last.seconds:.1f} s, accuracy {last.accuracy:.3f}", flush=True)
    at_best = max(at_best, peak())
    found = told(setting, asked, runs, at_best) | {"teacher_answers_seconds": answered}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "finetune.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "finetune.md").write_text(table(found))
    print(table(found))
    return 0 if all(met for _, met in bars(found)) else 1


def prepared(asked: argparse.Namespace) -> tuple[Setting, float]:
    """Texts, a start, a teacher that has seen them for an epoch, its logits, and the seconds that those took."""
    source = loading.locate(MODEL, Path())
    data: Any = {"train": asked.train} if asked.train else "builtin/docstrings"
    limit: Any = {"train": asked.texts, "validation": 400}
    columns = {"text": asked.text, "label": asked.label} if asked.train else {}
    settings = TaskSettings(data=data, limit=limit, max_length=asked.max_length, **columns)
    task = Task.load(settings, loading.load_tokenizer(source), 0, Path())
    torch.manual_seed(0)
    start = loading.load_model(source, task.labels, task.kind.head).eval()
    setting = Setting(task, start, copy.deepcopy(start), torch.empty(0), 1)
    teacher, _, _ = ours(setting, 0)
    began = clock.now()
    logits_NC = teachers.finite_logits(teacher.eval(), task.train, MODEL, torch.device("cpu"))
    return Setting(task, start, teacher, logits_NC, asked.epochs), clock.now() - began


class Watched(Course):
    """Keeps every loss, and how long the steps took."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.began = self.ended = 0.0

    def begins(self, training: Interruptible) -> None:
        self.began = clock.now()

    def stepped(self, training: Interruptible, loss: float) -> None:
        self.losses.append(loss)
        self.ended = clock.now()


def ours(setting: Setting, seed: int, *, distils: bool = False) -> tuple[nn.Module, float, list[float]]:
    """By `finetune`: the model, seconds of its steps, the loss of each."""
    task, course = setting.task, Watched()
    teacher = Teacher(lambda: setting.teacher, lambda: setting.logits_NC)
    ctx = Context(teacher, [], Target(), task.train, seed, course, kind=task.kind)
    ctx.losses = [SoftLabelLoss(TEMPERATURE, 1.0, task.kind)] if distils else []
    model = Finetune(epochs=setting.epochs, lr=LR, batch_size=BATCH).apply(copy.deepcopy(setting.start), ctx)
    return model, course.ended - course.began, course.losses


def theirs(setting: Setting, seed: int, *, distils: bool = False, **more: Any) -> tuple[nn.Module, float, list[float]]:
    """By the Trainer."""
    model = copy.deepcopy(setting.start)
    freeze_embeddings(model)
    teacher = setting.teacher if distils else None
    ran: Losses = by_trainer(
        model, teacher, setting.task, seed=seed, epochs=setting.epochs, lr=LR, batch_size=BATCH, **more
    )
    return model, ran.seconds, ran.losses


def one(side: Side, setting: Setting, seed: int) -> Ran:
    model, seconds, losses = side(setting, seed)
    validation, right = setting.task.validation, 0
    with torch.no_grad():
        for batch in validation.batches(BATCH):
            labels = batch.pop("labels")
            batch.pop("index")
            right += int((model.eval()(**batch).logits.argmax(-1) == labels).sum())
    return Ran(seconds, losses, right / len(validation))


SIDES: dict[str, Side] = {
    "ours": ours,
    "Trainer": theirs,
    "ours + distillation": lambda *given: ours(*given, distils=True),
    "Trainer + distillation": lambda *given: theirs(*given, distils=True),
    "Trainer, like lengths": lambda *given: theirs(*given, like_lengths=True),
    FEWER_BITS: lambda *given: theirs(*given, like_lengths=True, bf16=True),
}


def peak() -> float:
    """Multiply-adds a second of a large product of matrices, in billions: the best of several."""
    a, b, best = torch.randn(1536, 1536), torch.randn(1536, 1536), 0.0
    for _ in range(12):
        began = clock.now()
        a @ b
        best = max(best, 1536**3 / (clock.now() - began))
    return best / 1e9


def needed(setting: Setting) -> float:
    """Billions of multiply-adds of one epoch, forwards and twice backwards, of tokens that are no padding."""
    products = sum(m.weight.numel() for m in setting.start.modules() if isinstance(m, nn.Linear))
    lengths = [len(row) for row in setting.task.train.fields["input_ids"]]
    config: Any = setting.start.config
    attention = 2 * config.num_hidden_layers * config.hidden_size * sum(n * n for n in lengths)
    return 3 * (products * sum(lengths) + attention) / 1e9


def told(setting: Setting, asked: argparse.Namespace, runs: dict[str, list[Ran]], at_best: float) -> dict[str, Any]:
    examples = len(setting.task.train) * setting.epochs
    work = needed(setting) * setting.epochs
    rows = {
        name: {
            "examples_per_second": [examples / r.seconds for r in ran],
            "utilisation": work / statistics.mean(r.seconds for r in ran) / at_best,
            "accuracy": [r.accuracy for r in ran],
            "curves": [tenths(r.losses) for r in ran],
        }
        for name, ran in runs.items()
        if ran
    }
    ratios = {
        more: [t.seconds / o.seconds for o, t in zip(runs[f"ours{more}"], runs[f"Trainer{more}"], strict=True)]
        for more in BARS
    }
    about = {
        "model": MODEL,
        "threads": asked.threads,
        "texts": len(setting.task.train),
        "epochs": setting.epochs,
        "data": Path(asked.train).name,
    }
    return {
        "machine": fingerprint.machine(), **about, "billion_multiply_adds_per_second": at_best, "rows": rows,
        "ratios": ratios, "curve_distance": {more: distance(rows, more) for more in BARS},
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
