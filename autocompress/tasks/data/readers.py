"""Where raw texts and labels come from. The only importer of `datasets`.

`task.data` is read by the first rule that fits:

1. a mapping names one file a split: .csv, .tsv, .jsonl, .json (a list of objects) or .parquet
2. `builtin/docstrings` or `builtin/descriptions`
3. a folder that exists, seen from the YAML file's folder: what `datasets` wrote with save_to_disk
4. a hub dataset: `name`, `namespace/name` or `namespace/name/config`. The well-known names in `HUB_NAMES` need no
   namespace: `glue/sst2` is the config sst2 of nyu-mll/glue, while `stanfordnlp/imdb` is a namespace and a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError, nearest, reason
from autocompress.machine.silence import quiet
from autocompress.space.settings import TaskSettings
from autocompress.tasks.data import descriptions, docstrings
from autocompress.tasks.data.table_files import FORMATS, Columns, read_file

HUB_NAMES = {
    "ag_news": "fancyzhx/ag_news", "dbpedia_14": "fancyzhx/dbpedia_14", "emotion": "dair-ai/emotion",
    "glue": "nyu-mll/glue", "imdb": "stanfordnlp/imdb", "snli": "stanfordnlp/snli", "sst2": "stanfordnlp/sst2",
    "rotten_tomatoes": "cornell-movie-review-data/rotten_tomatoes", "super_glue": "aps/super_glue",
    "tweet_eval": "cardiffnlp/tweet_eval", "xnli": "facebook/xnli", "yelp_polarity": "fancyzhx/yelp_polarity",
}  # fmt: skip
_ALIASES = {  # what `datasets` may call a split
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev", "validation_matched"),
    "test": ("test", "test_matched"),
}
_BUILTIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    docstrings.NAME: (docstrings, ("text", "label")), descriptions.NAME: (descriptions, descriptions.COLUMNS),
}  # fmt: skip
_BY_SPLIT = "name files by split: {train: FILE, validation: FILE, test: FILE}."


@dataclass(frozen=True)
class Rows:
    """One split as it was found."""

    origin: str  # what a sentence calls it
    columns: Columns  # the texts' and the label's
    names: tuple[str, ...] = ()  # of the labels, where the data knows them: label i is names[i], and -1 is none


def read(settings: TaskSettings, root: Path) -> dict[str, Rows]:
    """The splits there are: train always, validation and test perhaps. Raises `ConfigError` for what cannot be read."""
    data = settings.data
    if isinstance(data, dict):
        return _read_files({split: root / Path(name).expanduser() for split, name in data.items()}, settings)
    if data.startswith("builtin/"):
        return _read_builtin(data, settings)
    folder = root / Path(data).expanduser()
    if folder.is_dir():
        return _read_saved(folder, settings)
    if data.startswith((".", "/", "~")) or folder.suffix in FORMATS:
        raise ConfigError(
            f"task.data: must be a folder that exists, or a hub dataset. Got {data!r}, that is {folder}. Or {_BY_SPLIT}"
        )
    return _read_hub(data, settings)


def read_unlabelled(settings: TaskSettings, root: Path) -> Rows:
    """The texts of `task.unlabelled`; labels that the file may have are not looked at. Raises `ConfigError`."""
    where, file = "task.unlabelled", root / Path(settings.unlabelled).expanduser()
    bare = settings.model_copy(update={"label": ""})
    return _rows(str(file), "train", read_file(where, file, ""), bare)


def hub_name(data: str) -> tuple[str, str | None]:
    """`namespace/name` and the config, if one is given."""
    first, *rest = data.split("/")
    name, *config = [HUB_NAMES[first], *rest] if first in HUB_NAMES else ["/".join([first, *rest[:1]]), *rest[1:]]
    if len(config) > 1 or not all([first, *rest]):
        rule = "must be name, namespace/name or namespace/name/config of a hub dataset"
        raise ConfigError(f"task.data: {rule}. Got {data!r}. Or {_BY_SPLIT}")
    return name, config[0] if config else None


def _read_files(files: dict[str, Path], settings: TaskSettings) -> dict[str, Rows]:
    """Each file once, though several splits may name it. The mistakes of all files are raised at once."""
    tables: dict[Path, Columns] = {}
    found, wrong = {}, dict[Path, str]()
    for split, file in files.items():
        if file in wrong:
            continue
        try:
            if file not in tables:
                tables[file] = read_file(f"task.data.{split}", file, settings.label)
            found[split] = _rows(str(file), split, tables[file], settings)
        except ConfigError as e:
            wrong[file] = str(e)
    if wrong:
        raise ConfigError("\n".join(wrong.values()))
    return found


def _read_builtin(name: str, settings: TaskSettings) -> dict[str, Rows]:
    if name not in _BUILTIN:
        raise ConfigError(f"task.data: there is no {name!r}. {nearest(name, list(_BUILTIN), otherwise='There are')}")
    data, columns = _BUILTIN[name]
    tables = {
        split: dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
        for split, rows in data.load().items()
    }
    return {split: _rows(f"{name} {split}", split, table, settings) for split, table in tables.items()}


def _read_saved(folder: Path, settings: TaskSettings) -> dict[str, Rows]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except FileNotFoundError:
        rule = "a folder must be one that `datasets` wrote with save_to_disk"
        raise ConfigError(f"task.data: {rule}. Got {str(folder)!r}. Or {_BY_SPLIT}") from None
    return _read_splits(str(folder), saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}, settings)


def _read_hub(data: str, settings: TaskSettings) -> dict[str, Rows]:
    import datasets

    name, config = hub_name(data)
    datasets.disable_progress_bars()
    try:
        with quiet():
            splits = datasets.load_dataset(name, config)
    except Exception as e:  # no network, no such dataset or config, a broken file: a dozen types of error
        raise ConfigError(
            f"task.data: must be a folder that exists, or a hub dataset that can be read. Got {data!r}, on the hub "
            f"{name!r}: {reason(e)}. Check the name and the network, or {_BY_SPLIT}"
        ) from e
    finally:
        datasets.enable_progress_bars()
    return _read_splits(data, splits, settings)


def _read_splits(origin: str, found: Any, settings: TaskSettings) -> dict[str, Rows]:
    """Our splits of a `DatasetDict`, under whatever names they go there."""
    ours = {split: next((name for name in names if name in found), None) for split, names in _ALIASES.items()}
    if ours["train"] is None:
        raise ConfigError(f"task.data: {origin} must have a train split. Got {', '.join(found)}.")
    wanted = {*settings.text, settings.label}  # "": there are no labels
    rows: dict[str, Rows] = {}
    for split, dataset in ((split, found[name]) for split, name in ours.items() if name is not None):
        columns = {name: dataset[name][:] if name in wanted else [] for name in dataset.column_names}
        feature = dataset.features.get(settings.label)
        names = tuple(getattr(getattr(feature, "feature", feature), "names", ()))  # of a list: those of its values
        rows[split] = _rows(f"{origin} {split}", split, columns, settings, names)
    return rows


def _rows(origin: str, split: str, columns: Columns, settings: TaskSettings, names: tuple[str, ...] = ()) -> Rows:
    """Keep the columns that are wanted. A test split may come without labels: that is as good as none."""
    labelled = [("label", settings.label)] if settings.label else []
    wanted = [*(("text", name) for name in settings.text), *labelled]
    if labelled and split == "test" and settings.label not in columns:
        columns = columns | {settings.label: [None] * len(next(iter(columns.values()), []))}
    for key, name in wanted:
        if name not in columns:
            raise ConfigError(
                f"task.{key}: must be a column of {origin}. Got {name!r}. Its columns: {', '.join(columns)}."
            )
    return Rows(origin, {name: columns[name] for _, name in wanted}, names)
