"""Train on more text than there is: changed copies of the training texts, or others, labelled by the teacher.

`factor` times as many texts more. With `unlabelled` they are those of the task that have no labels (`task.unlabelled`),
as many as there are. Else they are copies, each token of which, but special ones, is changed with probability `rate`:

- `mask`: it becomes the tokenizer's mask token, or a drawn one if there is no such token.
- `swap`: it becomes a token drawn from those of all training texts, as often as they occur there.
- `none`: nothing changes; the copies only add the teacher's answers as labels.

Tang et al. 2019, arXiv:1903.12136, section 3.2 (masking with 0.1, words of one part of speech, n-grams; 20 times as
many texts); Jiao et al. 2019, arXiv:1909.10351. Departures: tokens, not words, are changed, so that a text need not be
read anew; there are neither parts of speech nor n-grams. The teacher reads each of these texts once.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context, Teacher
from autocompress.models.forward import CPU, Outputs, fetched, forward, moved, placed
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch, Corpus, Examples

_BATCH = 64


class TransferSet(Method):
    """For small students of few texts. A finetune takes as many times longer."""

    stage: ClassVar[Stage] = "train"
    pays: ClassVar[tuple[Gain, ...]] = ("quality",)
    pending: ClassVar[bool] = True
    values_only: ClassVar[bool] = True

    factor: Annotated[int, Field(ge=1, le=100), Choice((1, 2, 4))] = 2
    augmentation: Annotated[Literal["mask", "swap", "none", "unlabelled"], Choice(("mask", "swap"))] = "mask"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if not ctx.kind.remembers:
            raise NotApplicable("transfer_set labels whole texts. This task asks for more than one label a text")
        if self.uses_unlabelled and ctx.unlabelled is None:
            raise NotApplicable("transfer_set wants texts without labels: name a file of them in task.unlabelled")
        if ctx.train is None:
            return model
        assert ctx.train.labels is not None
        more = self._more(ctx, ctx.train)
        logits_MC = self._answers(more, ctx)
        labels = [int(answer) for answer in ctx.kind.answers(logits_MC.numpy(), {})]
        both = {name: [*ctx.train.fields[name], *values] for name, values in more.fields.items()}
        ctx.teacher = Extended(ctx.teacher, len(ctx.train), logits_MC)
        ctx.train = Examples(both, [*ctx.train.labels, *labels], ctx.train.pad)
        return model

    @property
    def uses_unlabelled(self) -> bool:
        return self.augmentation == "unlabelled"

    @property
    def text_factor(self) -> int:
        return 1 + self.factor

    def _more(self, ctx: Context, train: Examples) -> Examples:
        """M texts, whose labels nobody knows."""
        if self.uses_unlabelled and ctx.unlabelled is not None:
            return ctx.unlabelled(self.factor * len(train))
        corpus, random = ctx.corpus(), torch.Generator().manual_seed(ctx.seed)
        rows = [self._changed(row, corpus, random) for _ in range(self.factor) for row in train.fields["input_ids"]]
        fields = {name: [*values] * self.factor for name, values in train.fields.items()} | {"input_ids": rows}
        return Examples(fields, None, train.pad)

    def _changed(self, row: list[int], corpus: Corpus, random: torch.Generator) -> list[int]:
        if self.augmentation == "none":
            return row
        free = torch.tensor([token not in corpus.special for token in row])
        hit = (torch.rand(len(row), generator=random) < self.rate) & free
        if self.augmentation == "mask" and corpus.mask is not None:
            drawn = torch.full((len(row),), corpus.mask)
        else:
            counts = corpus.counts_V.double().index_fill(0, torch.tensor(sorted(corpus.special)), 0.0)
            drawn = torch.multinomial(counts, len(row), replacement=True, generator=random)
        changed: list[int] = torch.where(hit, drawn, torch.tensor(row)).tolist()
        return changed

    def _answers(self, copies: Examples, ctx: Context) -> Tensor:
        """The teacher's logits (M, C), in order."""
        with placed(ctx.teacher.model, ctx.device), torch.no_grad():
            found = [
                fetched(forward(ctx.teacher.model, batch, frozenset({"logits"})).logits)
                for batch in copies.batches(_BATCH)
            ]
        return torch.cat(found)


class Extended(Teacher):
    """A teacher that remembers what it says of further texts, whose numbers follow those of the others."""

    def __init__(self, first: Teacher, texts: int, logits_MC: Tensor) -> None:
        super().__init__(lambda: first.model)
        self._first, self._texts, self._more_MC = first, texts, logits_MC

    def __call__(self, batch: Batch, needs: frozenset[str], device: torch.device = CPU) -> Outputs:
        more_B = batch["index"] >= self._texts
        if needs != {"logits"} or not bool(more_B.any()):
            return (
                self._first(batch, needs, device) if not bool(more_B.any()) else super().__call__(batch, needs, device)
            )
        known = (batch["index"] - self._texts).clamp_min(0)
        theirs = self._more_MC[known]
        if not bool(more_B.all()):
            own = self._first({name: x[~more_B] for name, x in batch.items()}, needs, device).logits
            theirs[~more_B] = fetched(own)
        return Outputs(moved({"logits": theirs}, device)["logits"])
