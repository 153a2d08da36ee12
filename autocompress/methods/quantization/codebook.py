"""Let the weights of a matrix share few numbers: the file holds these, and for every weight which of them it is.

`kmeans`: 2^bits numbers a matrix, found by k-means from evenly spaced ones (Han et al. 2015, "Deep Compression",
arXiv:1510.00149, without its training of the shared numbers). `product`: the table of embeddings in parts of `width`
numbers of a row, each part one of 2^bits that all rows share at that place (product quantization: Jégou et al. 2011;
of embeddings Shu and Nakayama 2017, arXiv:1711.01068, who learn a sum of shared rows instead); the layers by k-means.

By `scope`: the `embedding` table, the products of all `layers`, or `all` of these. Matrices that would not get smaller
are left as they are. Nothing is multiplied in fewer bits: weights become float32 on loading, or when a row is read.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models import formats
from autocompress.models.formats import codebook, product
from autocompress.models.precision_plan import Precision
from autocompress.models.rotation import spread_pairs
from autocompress.models.surgery import products, token_tables, weight_OI
from autocompress.space.distributions import Choice, Neutral
from autocompress.space.method import Gain, Method, Stage


class Codebook(Method):
    """An eighth of the bytes and less, at no latency: of a table by `product` down to a twenty-fifth."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    bits: Annotated[Literal[2, 4, 8], Choice((2, 4, 8)), Neutral(32)] = 4
    scope: Annotated[Literal["embedding", "layers", "all"], Choice(("embedding", "layers", "all"))] = "all"
    method: Annotated[Literal["kmeans", "product"], Choice(("kmeans", "product"))] = "kmeans"
    width: Literal[4, 8, 16] = 8

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if self.method == "product" and self.scope == "layers":
            raise NotApplicable("product quantization is of the table of embeddings, which scope='layers' leaves out")
        spread_pairs(model)
        shared = parts = Precision("codebook", bits=self.bits)
        if self.method == "product":
            parts = Precision("product", bits=self.bits, group_size=self.width)
        planned = dict.fromkeys(products(model), shared) if self.scope != "embedding" else {}
        planned |= dict.fromkeys(token_tables(model), parts) if self.scope != "layers" else {}
        modules = {path: model.get_submodule(path) for path in planned}
        modules = {path: module for path, module in modules.items() if smaller(module, planned[path])}
        if not modules:
            raise NotApplicable(f"no matrix in scope={self.scope!r} gets smaller by a codebook of {self.bits} bits")
        found: dict[tuple[int, Precision], Tensor] = {}  # what has several names is looked at once
        for path, module in modules.items():
            W_OI, precision = weight_OI(module), planned[path]
            key = W_OI.data_ptr(), precision
            if key not in found:
                found[key] = fitted(W_OI, precision, ctx)
                if ctx.train is not None:
                    W_OI.copy_(formats.find(precision.weight).round(W_OI, precision, {"codebook": found[key]}))
            ctx.precision.add([path], precision, {f"{path}.codebook": found[key]})
        return model


def smaller(module: nn.Module, precision: Precision) -> bool:
    """Whether codes and their codebook take fewer bytes than float32."""
    O, I = weight_OI(module).shape
    return formats.find(precision.weight).bytes(O, I, precision) < 4 * O * I


def fitted(W_OI: Tensor, precision: Precision, ctx: Context) -> Tensor:
    """The codebook. In a rehearsal, where only its shape matters, what k-means begins with."""
    rounds = {} if ctx.train is not None else {"rounds": 0}
    if precision.weight == "product":
        return product.fit(W_OI, precision, ctx.seed, **rounds)
    return codebook.fit(W_OI, precision.bits, ctx.seed, **rounds)
