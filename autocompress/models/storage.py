"""Save a changed model and load it again without replaying any method.

A folder holds config.json (the stock skeleton), model.safetensors (the weights) and structure.json (where the model
differs from that skeleton). There is no pickle and no remote code.
"""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from autocompress.errors import ConfigError, short
from autocompress.models import kinds
from autocompress.models.cutting import recount_heads
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.models.students import know_configs, students
from autocompress.models.surgery import replace
from autocompress.space.recipe import digest

FORMAT = 2  # 1 had no ties
Structure = dict[str, Any]


def describe(model: nn.Module) -> Structure:
    """Where `model` differs from the skeleton that its own config builds. Plain data.

    modules: path -> kind and numbers; ties: name -> the first name of a parameter that has several. Raises a
    `TypeError` if the model differs in a way that no kind can say.
    """
    config = _own_config(model)
    with torch.device("meta"):
        skeleton = _skeleton(config)
    stock = dict(skeleton.named_modules())
    entries = {path: kinds.describe(module) for path, module in model.named_modules()}
    changed = {path: entry for path, entry in entries.items() if entry and entry != kinds.describe(stock.get(path))}
    # what lies inside a changed module is told by it
    told = {path: entry for path, entry in changed.items() if not any(path.startswith(f"{p}.") for p in changed)}
    ties = {name: first for name, first in tied(model).items() if tied(skeleton).get(name) != first != name}
    structure = {"format": FORMAT, "modules": told} | ({"ties": ties} if ties else {})
    strange = {path for path, entry in told.items() if path not in stock and not kinds.added(entry)}
    if strange or _looks(build(config, structure)) != _looks(model):
        raise TypeError(f"structure.json has no kind for the way in which this {type(model).__name__} was changed")
    return structure


def build(config: Any, structure: Structure) -> nn.Module:
    """The module of that structure, in eval mode. Its parameters hold nothing yet, its buffers are real."""
    changed, ties = _read(structure)
    model = _skeleton(config)
    made = {path: kinds.make(model, path, entry) for path, entry in changed.items()}
    for path, module in made.items():
        _put(model, path, module)
    if changed:
        recount_heads(model)
    kinds.attach(model, changed)
    tie(model, ties)
    return model.eval()


def tie(model: Any, ties: dict[str, str]) -> None:
    """Give parameters the names that they have besides their first: those of the model's own, and `ties`."""
    tie_own(model)  # transformers leaves that out where nothing is initialised
    for name, first in ties.items():
        try:
            parameter = model.get_parameter(first)
            parent, _, own = name.rpartition(".")
            model.get_parameter(name)
        except AttributeError:
            raise ConfigError(
                f"structure.json: ties should name parameters. Got {short(name)}: {short(first)}."
            ) from None
        setattr(model.get_submodule(parent), own, parameter)


def tie_own(model: Any) -> None:
    """Those of the model's own ties whose ends are there: a table may be another thing by now."""
    with suppress(AttributeError):
        model.tie_weights()


def save(model: nn.Module, folder: Path) -> None:
    """Write config.json, model.safetensors and structure.json into `folder`."""
    save_skeleton(model, folder)
    first = tied(model)
    weights = {name: t.detach().contiguous() for name, t in model.state_dict().items() if first.get(name, name) == name}
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

    know_configs()
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load(folder: Path) -> nn.Module:
    """The inverse of `save`, in eval mode. Raises `ConfigError` if the three files do not fit each other."""
    model: Any = load_skeleton(folder)
    first = tied(model)
    try:
        weights = load_file(folder / "model.safetensors")
        again = {name: weights[one] for name, one in first.items() if one in weights}
        model.load_state_dict(weights | again, assign=True)
    except (RuntimeError, SafetensorError) as e:
        said = str(e).splitlines()[:2][-1].strip()
        raise ConfigError(f"{folder}: model.safetensors does not fit structure.json and config.json. {said}") from None
    tie(model, {name: one for name, one in first.items() if name != one})  # each name was given one of its own
    return cast(nn.Module, model)


def tied(model: nn.Module) -> dict[str, str]:
    """The names of every parameter -> the first of them: what has several, as T5's table, is stored once."""
    first = {parameter: name for name, parameter in model.named_parameters()}
    return {name: first[parameter] for name, parameter in model.named_parameters(remove_duplicate=False)}


def signature(model: nn.Module, plan: PrecisionPlan) -> str:
    """A digest of all that size and latency depend on: every parameter's name, shape and dtype, every module's type
    and numbers, how often layers run that are one module, and the plan.
    """
    parameters = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    modules = [[path, kind, numbers] for path, (kind, numbers) in _modules(model).items()]
    depth = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    return digest([parameters, modules, depth, plan.dump()])


def _read(structure: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The changed modules and the ties."""
    match structure:
        case {"format": 1 | 2, "modules": dict(changed), **more}:
            ties = more.get("ties", {})
            if isinstance(ties, dict) and all(isinstance(name, str) for item in ties.items() for name in item):
                return changed, ties
    found = structure.get("format") if isinstance(structure, dict) else structure
    raise ConfigError(f"structure.json: this autocompress reads formats 1 and {FORMAT}. Got {short(found)}.")


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Replace what stands at `path`, or add to what stands above it."""
    try:
        replace(model, path, module)
    except AttributeError:
        raise ConfigError(f"structure.json: there is no place {short(path)} in this model.") from None


def _own_config(model: nn.Module) -> Any:
    """The model's config, naming the class that the model now has (a checkpoint may have been a bare encoder)."""
    config: Any = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    return config


def _skeleton(config: Any) -> nn.Module:
    """The stock model of a config, its own parameters tied."""
    from transformers.initialization import no_init_weights  # transformers takes a second to load: only where needed

    with no_init_weights():
        model: Any = _model_class(config)(config)
    model.tie_weights()
    return cast(nn.Module, model)


def _model_class(config: Any) -> type[nn.Module]:
    name = (config.architectures or ["none"])[0]
    import transformers

    found = students().get(name) or getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise ConfigError(f"config.json: architectures should name a transformers model. Got {short(name)}.")
    return found


def _looks(model: nn.Module) -> tuple[dict[str, torch.Size], dict[str, tuple[str, str]]]:
    """What `build` must give again: shapes, and every module's type and numbers."""
    return {name: tensor.shape for name, tensor in model.state_dict().items()}, _modules(model)


def _modules(model: nn.Module) -> dict[str, tuple[str, str]]:
    """Every module's type, and the numbers that it shows besides its parameters."""
    return {path: (type(module).__qualname__, module.extra_repr()) for path, module in model.named_modules()}
