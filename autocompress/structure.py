"""Save a changed model and load it again without replaying any method.

A folder holds config.json (the stock skeleton), model.safetensors (the weights) and structure.json (where the model
differs from that skeleton). There is no pickle and no remote code.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from autocompress.architectures import recount_heads
from autocompress.errors import ConfigError, short
from autocompress.precision import PrecisionPlan
from autocompress.recipe import digest
from autocompress.surgery import LowRankLinear, replace

FORMAT = 1
Structure = dict[str, Any]


def describe(model: nn.Module) -> Structure:
    """Where `model` differs from the skeleton that its own config builds: path -> kind, shape and bias. Plain data.

    Raises a `TypeError` if it differs in a way that no kind can say.
    """
    config = _own_config(model)
    with torch.device("meta"):
        stock = dict(type(model)(config).named_modules())
    entries = {path: _entry(module) for path, module in model.named_modules()}
    modules = {path: entry for path, entry in entries.items() if entry and entry != _entry(stock.get(path))}
    # the inner linears of a pair are told by the pair
    pairs = tuple(f"{path}." for path, entry in modules.items() if entry["kind"] == "low_rank")
    told = {path: entry for path, entry in modules.items() if not path.startswith(pairs)}
    structure = {"format": FORMAT, "modules": told}
    if not told.keys() <= stock.keys() or _shapes(build(config, structure)) != _shapes(model):
        raise TypeError(f"structure.json has no kind for the way in which this {type(model).__name__} was changed")
    return structure


def build(config: Any, structure: Structure) -> nn.Module:
    """The module of that structure, in eval mode. Its parameters hold nothing yet, its buffers are real."""
    from transformers.initialization import no_init_weights  # transformers takes a second to load: only where needed

    changed = _changed(structure)
    with no_init_weights():
        model: nn.Module = _model_class(config)(config)
    linears = {path for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    for path, entry in changed.items():
        if path not in linears:
            raise ConfigError(f"structure.json: a {config.model_type} model has no linear layer {short(path)}.")
        replace(model, path, _make(path, entry))
    if changed:
        recount_heads(model)
    return model.eval()


def save(model: nn.Module, folder: Path) -> None:
    """Write config.json, model.safetensors and structure.json into `folder`."""
    save_skeleton(model, folder)
    tied = _tied(model)
    weights = {name: t.detach().contiguous() for name, t in model.state_dict().items() if tied.get(name, name) == name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save_skeleton(model: nn.Module, folder: Path) -> None:
    """Write config.json and structure.json: all that `load_skeleton` needs."""
    folder.mkdir(parents=True, exist_ok=True)
    structure = describe(model)
    _own_config(model).save_pretrained(folder)
    (folder / "structure.json").write_text(json.dumps(structure, indent=2) + "\n")


def load_skeleton(folder: Path) -> nn.Module:
    """The module that config.json and structure.json describe. Its parameters hold nothing yet."""
    return build(read_config(folder), json.loads((folder / "structure.json").read_text()))


def read_config(folder: Path) -> Any:
    """The folder's config.json as transformers knows it. No code that comes with it is run."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load(folder: Path) -> nn.Module:
    """The inverse of `save`, in eval mode. Raises `ConfigError` if the three files do not fit each other."""
    model: Any = load_skeleton(folder)
    model.tie_weights()  # transformers leaves that out where nothing is initialised
    try:
        weights = load_file(folder / "model.safetensors")
        again = {name: weights[first] for name, first in _tied(model).items() if first in weights}
        model.load_state_dict(weights | again, assign=True)
    except (RuntimeError, SafetensorError) as e:
        first = str(e).splitlines()[:2][-1].strip()
        raise ConfigError(f"{folder}: model.safetensors does not fit structure.json and config.json. {first}") from None
    model.tie_weights()  # each name was given a parameter of its own
    return cast(nn.Module, model)


def _tied(model: nn.Module) -> dict[str, str]:
    """The names of every parameter -> the first of them: what has several, as T5's table, is stored once."""
    first = {parameter: name for name, parameter in model.named_parameters()}
    return {name: first[parameter] for name, parameter in model.named_parameters(remove_duplicate=False)}


def signature(model: nn.Module, plan: PrecisionPlan) -> str:
    """A digest of every parameter's name, shape and dtype and of the plan: equal ones have equal size and latency."""
    shapes = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    return digest([shapes, plan.dump()])


def _entry(module: nn.Module | None) -> dict[str, Any] | None:
    """What structure.json says of a module; None where it has no word for it."""
    if isinstance(module, nn.Linear | LowRankLinear):
        shape = {"in": module.in_features, "out": module.out_features}
        if isinstance(module, LowRankLinear):
            return {"kind": "low_rank", **shape, "rank": module.rank, "bias": module.up.bias is not None}
        return {"kind": "linear", **shape, "bias": module.bias is not None}
    return None


def _make(path: str, entry: Any) -> nn.Module:
    """The inverse of `_entry`, on the meta device: weights are assigned later."""
    with torch.device("meta"):
        match entry:
            case {"kind": "linear", "in": int(i), "out": int(o), "bias": bool(bias)} if min(i, o) > 0:
                return nn.Linear(i, o, bias=bias)
            case {"kind": "low_rank", "in": int(i), "out": int(o), "rank": int(r), "bias": bool(bias)}:
                if min(i, o, r) > 0:
                    return LowRankLinear(i, o, r, bias=bias)
    raise ConfigError(
        f"structure.json: {path} should be a linear (in, out, bias) or a low_rank (in, out, rank, bias). "
        f"Got {short(entry)}."
    )


def _changed(structure: Any) -> dict[str, Any]:
    match structure:
        case {"format": found, "modules": dict(changed)} if found == FORMAT:
            return changed
    found = structure.get("format") if isinstance(structure, dict) else structure
    raise ConfigError(f"structure.json: this autocompress reads format {FORMAT}. Got {short(found)}.")


def _own_config(model: nn.Module) -> Any:
    """The model's config, naming the class that the model now has (a checkpoint may have been a bare encoder)."""
    config: Any = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    return config


def _model_class(config: Any) -> type[nn.Module]:
    name = (config.architectures or ["none"])[0]
    import transformers

    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise ConfigError(f"config.json: architectures should name a transformers model. Got {short(name)}.")
    return found


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
