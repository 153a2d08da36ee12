"""The script that a good engineer writes in an afternoon: Optuna, the Trainer with distillation, ONNX Runtime.

    python -m benchmarks.by_hand --teacher DIR --data DIR --seconds 1200 --seed 0 --to DIR

`versus_by_hand.py` runs it beside autocompress, on the same teacher, texts (train, validation and test.parquet), space
and limits. It searches with a multi-objective TPE, fewer layers, narrower feed-forwards, the learning rate, soft labels
and dynamic int8, and keeps every ONNX file. Appends a line of JSON to `DIR/trials.jsonl` for each trial, with the
seconds since it began, and in the end judges them on the test texts. Needs `pip install accelerate`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import onnxruntime
import optuna
import psutil
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from autocompress.models import hub

BEGAN = psutil.Process().create_time()  # what an import takes is part of a script's time
LENGTH, TEMPERATURE, EPOCHS = 64, 2.0, 2
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Distillation(Trainer):
    """Learns from the labels and from the teacher's softened answers."""

    def __init__(self, *args: Any, teacher: nn.Module, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher.eval()

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        with torch.no_grad():
            taught = self.teacher(**{name: inputs[name] for name in INPUTS}).logits
        soft = F.kl_div(
            F.log_softmax(outputs.logits / TEMPERATURE, -1), F.softmax(taught / TEMPERATURE, -1), reduction="batchmean"
        )
        loss = outputs.loss + TEMPERATURE**2 * soft
        return (loss, outputs) if return_outputs else loss


def drop_layers(model: nn.Module, keep: int) -> None:
    """Keep so many layers, evenly spaced."""
    layers = model.bert.encoder.layer
    kept = np.linspace(0, len(layers) - 1, keep).round().astype(int)
    model.bert.encoder.layer = nn.ModuleList([layers[i] for i in kept])
    model.config.num_hidden_layers = keep


def drop_neurons(model: nn.Module, keep: float) -> None:
    """Keep that share of every feed-forward's neurons, those with the largest weights."""
    width = int(model.config.intermediate_size * keep)
    for layer in model.bert.encoder.layer:
        up, down = layer.intermediate.dense, layer.output.dense
        best = down.weight.norm(dim=0).topk(width).indices.sort().values
        up.weight, up.bias = nn.Parameter(up.weight[best].detach()), nn.Parameter(up.bias[best].detach())
        down.weight = nn.Parameter(down.weight[:, best].detach())
    model.config.intermediate_size = width


def make_teacher(data: Path, to: Path) -> None:
    """Fine-tune MiniLM on the training texts."""
    source = hub.builtin("builtin/minilm")
    tokenizer = AutoTokenizer.from_pretrained(source)
    files = {"train": str(data / "train.parquet")}
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(to / "datasets"))["train"]
    names = [str(label) for label in sorted(set(rows["label"]))]
    rows = rows.map(lambda found: tokenizer(found["text"], truncation=True, max_length=LENGTH))
    rows = rows.remove_columns("text").rename_column("label", "labels")
    named = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {n: i for i, n in enumerate(names)},
    }
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, **named)
    options = TrainingArguments(
        output_dir=str(to / "trainer"), num_train_epochs=4, learning_rate=2e-4, per_device_train_batch_size=32,
        warmup_steps=0.1, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    Trainer(model=model, args=options, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)).train()
    model.save_pretrained(to)
    tokenizer.save_pretrained(to)


class Search:
    """The objective, and what it needs."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.teacher_place, self.to = str(arguments.teacher), arguments.to
        self.tokenizer = AutoTokenizer.from_pretrained(self.teacher_place)
        self.teacher = AutoModelForSequenceClassification.from_pretrained(self.teacher_place)
        files = {name: str(arguments.data / f"{name}.parquet") for name in ("train", "validation", "test")}
        texts = datasets.load_dataset("parquet", data_files=files, cache_dir=str(self.to / "datasets"))
        self.data = texts.map(lambda rows: self.tokenizer(rows["text"], truncation=True, max_length=LENGTH))
        self.data = self.data.remove_columns("text").rename_column("label", "labels")
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.seed = arguments.seed
        self.teacher_file = self.export(self.teacher, "teacher", quantized=False)
        self.baseline = self.measure(self.teacher_file, "validation")

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, float]:
        torch.manual_seed(self.seed)
        model = AutoModelForSequenceClassification.from_pretrained(self.teacher_place)
        if (layers := trial.suggest_categorical("layers", [2, 3, 4, 5, 6])) < 6:
            drop_layers(model, layers)
        if (neurons := trial.suggest_categorical("neurons", [0.25, 0.5, 0.75, 1.0])) < 1:
            drop_neurons(model, neurons)
        rate = trial.suggest_float("lr", 5e-5, 6e-4, log=True)
        soft = trial.suggest_categorical("soft_labels", [False, True])
        quantized = trial.suggest_categorical("int8", [False, True])
        clock = [time.perf_counter()]
        self.train(model, rate, soft)
        clock.append(time.perf_counter())
        file = self.export(model, f"t{trial.number}", quantized)
        clock.append(time.perf_counter())
        found = self.measure(file, "validation")
        clock.append(time.perf_counter())
        limits = (
            0.9 * self.baseline["score"] - found["score"],
            found["latency_ms"] - 0.67 * self.baseline["latency_ms"],
            found["size_mb"] - 0.8 * self.baseline["size_mb"],
        )
        trial.set_user_attr("limits", limits)
        took = {name: clock[n + 1] - clock[n] for n, name in enumerate(("train", "lower", "evaluate"))}
        self.log({"number": trial.number, "params": trial.params, "took": took, **found})
        return found["score"], found["latency_ms"], found["size_mb"]

    def train(self, model: nn.Module, rate: float, soft: bool) -> None:
        options = TrainingArguments(
            output_dir=str(self.to / "trainer"), num_train_epochs=EPOCHS, learning_rate=rate, seed=self.seed,
            per_device_train_batch_size=32, warmup_steps=0.1, weight_decay=0.01, save_strategy="no", report_to="none",
            disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        common: dict[str, Any] = {
            "model": model, "args": options, "train_dataset": self.data["train"], "data_collator": self.collate,
        }  # fmt: skip
        (Distillation(teacher=self.teacher, **common) if soft else Trainer(**common)).train()

    def export(self, model: nn.Module, name: str, quantized: bool) -> Path:
        model = model.eval().cpu()
        batch = self.tokenizer(["a text"], padding="max_length", max_length=LENGTH, return_tensors="pt")
        file = self.to / f"{name}.onnx"
        axes = {name: {0: "batch", 1: "length"} for name in INPUTS} | {"logits": {0: "batch"}}
        torch.onnx.export(
            model, tuple(batch[i] for i in INPUTS), str(file), input_names=list(INPUTS), output_names=["logits"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
        if quantized:
            quantize_dynamic(str(file), str(file.with_suffix(".int8.onnx")))
            file = file.with_suffix(".int8.onnx").replace(file)
        return file

    def measure(self, file: Path, split: str) -> dict[str, float]:
        """Accuracy on all cores in batches; milliseconds on one thread of one text of LENGTH tokens."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), options)
        ids = np.ones((1, LENGTH), np.int64)
        text = {"input_ids": ids * 1000, "attention_mask": ids, "token_type_ids": ids * 0}
        times = []
        for _ in range(60):
            start = time.perf_counter()
            session.run(None, text)
            times.append(time.perf_counter() - start)
        score = self.score(file, split)
        return {
            "score": score, "latency_ms": float(np.median(times[10:])) * 1e3, "size_mb": file.stat().st_size / 1e6,
        }  # fmt: skip

    def score(self, file: Path, split: str) -> float:
        session = onnxruntime.InferenceSession(str(file))
        rows, right = self.data[split], 0
        for at in range(0, len(rows), 32):
            batch = self.collate([rows[i] for i in range(at, min(at + 32, len(rows)))])
            logits = session.run(None, {name: batch[name].numpy() for name in INPUTS})[0]
            right += int((logits.argmax(-1) == batch["labels"].numpy()).sum())
        return right / len(rows)

    def log(self, row: dict[str, Any]) -> None:
        with (self.to / "trials.jsonl").open("a") as file:
            file.write(json.dumps({"seconds": time.time() - BEGAN, **row}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.to, ignore_errors=True)
    arguments.to.mkdir(parents=True)
    search = Search(arguments)
    search.log({"number": -1, **search.baseline})
    sampler = optuna.samplers.TPESampler(
        seed=arguments.seed, multivariate=True, constraints_func=lambda trial: trial.user_attrs["limits"]
    )
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
    study.optimize(search, timeout=arguments.seconds - (time.time() - BEGAN))
    tested = {t.number: search.score(arguments.to / f"t{t.number}.onnx", "test") for t in study.trials}
    tested[-1] = search.score(search.teacher_file, "test")
    (arguments.to / "tested.json").write_text(json.dumps(tested))


if __name__ == "__main__":
    main()
