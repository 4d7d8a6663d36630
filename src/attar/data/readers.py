"""The readers of a user's own files, each under its prefix, and the one that suits a path without a prefix."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from attar.arguments import resolve_home
from attar.data.check import Found
from attar.data.columns import holds_files
from attar.data.hub import read_hub
from attar.data.image_folder import holds_class_folders, read_folder
from attar.data.known_sets import DATASETS
from attar.data.numpy_files import read_npy, read_npz
from attar.data.parquet import read_parquet
from attar.data.reading import Reading
from attar.data.table_files import is_parquet, is_table_file, read_tables
from attar.wording import unknown

LOG = logging.getLogger("attar")


class Reader(NamedTuple):
    """Reads what lies at a path that follows a prefix, such as `npz:PATH`."""

    read: Callable[[Path, Reading], Found]
    place: str
    about: str
    takes: tuple[str, ...] = ()
    """The options of `load_data` that are for some readers only, and for this one."""
    suits: Callable[[Path], bool] | None = None
    """Whether a path without a prefix is meant for this reader, by its content."""


def begins_with(magic: bytes) -> Callable[[Path], bool]:
    """Whether a path is a file that begins with these bytes."""

    def suits(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(magic)) == magic

    return suits


def holds(ending: str) -> Callable[[Path], bool]:
    """Whether a path is a folder in which a file has this ending."""
    return lambda path: path.is_dir() and any(not file.name.startswith(".") for file in path.glob(f"*{ending}"))


def has_pictures(path: Path) -> bool:
    """Whether a path is a Parquet file with a column of encoded files, or a folder with one."""
    files = path.glob("*.parquet") if path.is_dir() else [path]
    return any(is_parquet(file) and holds_files(file) for file in files if not file.name.startswith("."))


PICTURES = ("size", "skip_damaged")
COLUMNS = ("image_column", "label_column")
READERS = {
    "folder": Reader(read_folder, "FOLDER", "pictures in a folder for each class", PICTURES, holds_class_folders),
    "parquet": Reader(
        read_parquet,
        "PATH",
        "pictures and labels of a Parquet file, or of a folder of them",
        PICTURES + COLUMNS,
        has_pictures,
    ),
    "hf": Reader(
        read_hub, "NAME", "a data set of the Hugging Face hub, or a folder as that reads it", PICTURES + COLUMNS
    ),
    "npz": Reader(read_npz, "PATH", "images and labels of a NumPy file", suits=begins_with(b"PK")),
    "npy": Reader(
        read_npy, "FOLDER", "images and labels of NumPy files, which may be larger than memory", suits=holds(".npy")
    ),
    "table": Reader(
        read_tables,
        "PATH",
        "a table in a CSV or Parquet file, or in a folder with train.csv and perhaps test.csv",
        ("label_column",),
        is_table_file,
    ),
}


def recognise(data: str) -> str:
    """A known name or `prefix:path` as it is; a path alone with the prefix that its content suits, which is logged.

    Raises `ValueError` where it is none of these, or may be meant for several readers.
    """
    prefix, _, rest = data.partition(":")
    if data in DATASETS or (rest and prefix in READERS):
        return data
    path = resolve_home("data", Path(data))
    if not data or not path.exists():
        places = [f"{prefix}:{reader.place}" for prefix, reader in READERS.items()]
        raise ValueError(unknown("data set", data, [*DATASETS, *places]))
    suited = [prefix for prefix, reader in READERS.items() if reader.suits and reader.suits(path)]
    if len(suited) != 1:
        possible = [prefix for prefix, reader in READERS.items() if path.is_dir() or reader.place == "PATH"]
        either = " or ".join(f"{prefix}:{data}" for prefix in suited or possible)
        raise ValueError(f"{data} is a path, and its content does not say how to read it: a prefix does, as {either}")
    LOG.warning(f"{data} is read as {suited[0]}:{data}, {READERS[suited[0]].about}")
    return f"{suited[0]}:{data}"


def refuse_untaken(data: Any, options: dict[str, Any]) -> None:
    """Raises `ValueError` for an option that is given, and is not for this data, which `recognise` has been through."""
    prefix = data.partition(":")[0] if isinstance(data, str) and data not in DATASETS else ""
    taken = READERS[prefix].takes if prefix else ()
    for name, value in options.items():
        if value not in (None, False) and name not in taken:
            places = [f"{prefix}:{reader.place}" for prefix, reader in READERS.items() if name in reader.takes]
            raise ValueError(f"{name} is for {' and '.join(places)} alone")
