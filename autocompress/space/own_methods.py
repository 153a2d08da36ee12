"""Methods of the user's own: a folder that a search space names, one file a method, as in the catalogue."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from autocompress.errors import ConfigError, reason
from autocompress.space.method import methods

_PACKAGE = "own_methods"  # the modules' first name: theirs is no code of ours, and its digest is part of keys


def load(folder: Path, named: str) -> None:
    """Make the methods in `folder` known; what this process has loaded from there stays as it is.

    Raises `ConfigError` for a folder without methods, a file that cannot be run, and a name that is taken.
    """
    files = sorted(folder.glob("[!_]*.py")) if folder.is_dir() else []
    if not files:
        raise ConfigError(f"methods must be a folder of Python files, a method each. Got {named!r}, that is {folder}.")
    known = methods()
    for file in files:
        module = f"{_PACKAGE}.{folder.name}.{file.stem}"
        if getattr(sys.modules.get(module), "__file__", None) == str(file):
            continue
        if file.stem in known or module in sys.modules:
            raise ConfigError(f"methods: the name of {file} is that of another method. Give the file another name.")
        _run(module, file)
        if file.stem not in methods():
            raise ConfigError(
                "methods: every file must define a subclass of autocompress.space.method.Method. "
                f"Got {file}, with none."
            )


def _run(module: str, file: Path) -> None:
    spec = importlib.util.spec_from_file_location(module, file)
    assert spec
    assert spec.loader
    sys.modules[module] = made = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except Exception as e:  # whatever a person's own code may raise
        del sys.modules[module]
        raise ConfigError(f"methods: {file} cannot be run. {type(e).__name__}: {reason(e)}.") from e
