"""What is profiled: a checkpoint from anywhere, or an exported folder with its artefact."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from autocompress.errors import ConfigError, NotApplicable
from autocompress.models import input_limits, loading
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.profiling.profile import Profile, profile
from autocompress.profiling.speeds import Speeds, speeds
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving import pipeline
from autocompress.serving.folder import SERVING, read_serving
from autocompress.space.language.mistakes import Mistakes, read_settings
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch, Examples
from autocompress.tasks.tokenization import encode, padding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_USUAL_LENGTH = 128


class Subject(NamedTuple):
    """A model to profile. `artefact`: where it lies lowered for `target` already, else None."""

    name: str
    module: nn.Module
    plan: PrecisionPlan
    tokenizer: PreTrainedTokenizerBase
    target: Target
    artefact: Path | None

    def profile(self, known: Speeds | None = None) -> Profile:
        """Measure it, and the runtime's own speeds unless they are known. Raises `ConfigError` if it cannot run."""
        runtime, batch = find_runtime(self.target.runtime), self.batch()
        try:
            runtime.support(self.plan, self.target)
        except NotApplicable as e:
            raise ConfigError(f"profile: the target should be one that runs this model. {e}. Choose another.") from e
        with tempfile.TemporaryDirectory(prefix="autocompress-") as scratch:
            folder = self.artefact or Path(scratch)
            if self.artefact is None:
                runtime.lower(self.module, self.plan, batch, folder)
            found = known or speeds(self.target)
            return profile(self.name, self.module, self.plan, folder, batch, self.target, found)

    def batch(self) -> Batch:
        """What latency is measured on, of any tokens: their values do not matter, their number does."""
        input_limits.check(self.tokenizer, {}, self.target)
        examples = Examples(encode(self.tokenizer, [("text",)], 8), [0], padding(self.tokenizer))
        return latency.latency_batch(examples, self.target)


def find_subject(model: str, root: Path, base: Target | None = None, **changes: Any) -> Subject:
    """`model`: a hub id, `builtin/minilm`, or from `root` a checkpoint's or an exported folder.

    Its target is `base`, else that of the exported folder, else one text of 128 tokens (or as many as the model reads);
    with `changes` (None: none). Raises `ConfigError`.
    """
    folder = root / Path(model).expanduser()
    if (folder / SERVING).is_file():
        return _exported(model, folder, base, changes)
    source = loading.locate(model, root)
    head, labels = loading.own_head(source)
    module = loading.load_model(source, labels, head).eval()
    tokenizer = _fitted(loading.load_tokenizer(source), module)
    usual = Target(sequence_length=min(_USUAL_LENGTH, tokenizer.model_max_length))
    return Subject(model, module, PrecisionPlan(), tokenizer, _changed(base or usual, changes), None)


def _exported(name: str, folder: Path, base: Target | None, changes: Mapping[str, Any]) -> Subject:
    """Its file is what is measured, unless another runtime is asked for."""
    module, own = pipeline.load(folder), read_serving(folder).target
    target = _changed(base or own, changes)
    artefact = folder if target.runtime == own.runtime and target.device == own.device else None
    tokenizer = _fitted(loading.load_tokenizer(str(folder)), module)
    return Subject(name, module, PrecisionPlan.load(folder), tokenizer, target, artefact)


def _fitted(tokenizer: PreTrainedTokenizerBase, module: nn.Module) -> PreTrainedTokenizerBase:
    input_limits.fit(tokenizer, [input_limits.limits_of(module, tokenizer)])
    return tokenizer


def _changed(target: Target, changes: Mapping[str, Any]) -> Target:
    mistakes = Mistakes()
    given = {name: value for name, value in changes.items() if value is not None}
    changed = read_settings(Target, target.model_dump() | given, ("target",), mistakes)
    mistakes.settle(lambda place: "profile")
    assert changed is not None
    return changed
