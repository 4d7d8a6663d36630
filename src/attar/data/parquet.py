"""Parquet files of encoded images and labels: known sets as the Hugging Face hub has them, and a user's own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attar.data.check import Found, list_some
from attar.data.columns import choose_columns
from attar.data.encoded_table import AT_ONCE, Rows, read_parts, read_table
from attar.data.reading import Reading
from attar.data.splits import PARTS

BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)  # what is raised for files that are not whole
INNER = ("", "data", "plain_text")  # where copies of the hub keep their files: "plain_text" is CIFAR's


def places(folders: tuple[str, ...]) -> list[str]:
    outer = ("", *folders)
    return list(dict.fromkeys(str(Path(a, b)) for a in outer for b in (*INNER, *folders)))


def describe_places(folders: tuple[str, ...]) -> str:
    """Where `locate_shards` looks below the root, for a person."""
    return ", ".join(f"{name}/" for name in (*folders, *INNER[1:-1])) + f" or {INNER[-1]}/"


def locate_shards(folders: tuple[str, ...], root: Path) -> list[Path]:
    """All shards of the training and the test part, in order; nothing where either is missing."""
    for place in places(folders):
        parts = [sorted((root / place).glob(f"{part}-*.parquet")) for part in ("train", "test")]
        if all(parts):
            for shards in parts:
                check_complete(shards)
            return [*parts[0], *parts[1]]
    return []


def check_complete(shards: list[Path]) -> None:
    """Raises `ValueError` where the names of the files say that there are more."""
    counted = re.search(r"-of-(\d+)\.parquet$", shards[0].name)
    if counted and len(shards) != int(counted[1]):
        raise ValueError(
            f"{shards[0].parent} has {len(shards)} of the {int(counted[1])} files that {shards[0].name} belongs to"
        )


def read_shards(files: list[Path], quiet: bool) -> Found:
    """Training and test part of a known set. Raises `ValueError` naming a damaged file and row."""
    opened = {file: open_file(file) for file in files}
    parts = {
        part: [rows for file, rows in opened.items() if file.name.startswith(prefix)]
        for part, prefix in (("training", "train-"), ("test", "test-"))
    }
    first = opened[files[0]]
    roles = choose_columns(first.schema, first.what, None, None)
    return read_parts(parts, roles, None, str(files[0].parent), quiet)


def read_parquet(path: Path, reading: Reading) -> Found:
    """One Parquet file, or a folder of them whose names say which part they belong to.

    Raises `ValueError` naming what is missing or damaged.
    """
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    parts = find_parts(path) if path.is_dir() else {"train": [path]}
    return read_table(str(path), list(parts), lambda name: [open_file(file) for file in parts[name]], reading)


def find_parts(folder: Path) -> dict[str, list[Path]]:
    """The files of each part, in order. They lie in the folder, or all in one below it, or in one for each part."""
    below = (file.relative_to(folder) for file in sorted(folder.rglob("*.parquet")))
    found = [file for file in below if not any(part.startswith(".") for part in file.parts)]
    found = [file for file in found if len(file.parts) == 1] or found
    if not found:
        raise ValueError(f"{folder} holds no Parquet files: none that ends in .parquet")
    places = {file.parent for file in found}
    if len(places) > 1 and not (len({p.parent for p in places}) == 1 and all(known_part(p.name) for p in places)):
        raise ValueError(f"{folder} holds Parquet files in {list_some([str(p) for p in sorted(places)])}: name one")
    parts: dict[str, list[Path]] = {}
    for file in found:
        parts.setdefault(name_part(file), []).append(folder / file)
    for shards in parts.values():
        check_complete(shards)
    return parts


def name_part(file: Path) -> str:
    """The part of a file below the user's folder: a known word in its name or its folder's, or how its name begins."""
    return known_part(file.stem) or known_part(file.parent.name) or re.split(r"[^a-z]", file.stem.lower())[0]


def known_part(name: str) -> str | None:
    """The known part that a name such as `my_test-00000-of-00001` is of. Raises `ValueError` where it may be two."""
    known = {word for words in PARTS.values() for word in words}
    found = sorted(known.intersection(re.split(r"[^a-z]+", name.lower())))
    if len(found) > 1:
        raise ValueError(f"{name} may be of the parts {' or '.join(found)}: call it by one of them")
    return found[0] if found else None


def open_file(file: Path) -> Rows:
    """A file's rows; of these nothing is read yet. Raises `ValueError` where it is damaged, then and later."""
    try:
        table = pq.ParquetFile(file)
    except BROKEN as error:
        raise ValueError(f"{file} is damaged, or no Parquet file: {error}") from None

    def read(column: str) -> Iterator[list[Any]]:
        rows = 0
        try:
            for batch in table.iter_batches(AT_ONCE, columns=[column]):
                rows += len(batch)
                yield batch.column(0).to_pylist()
        except BROKEN as error:
            raise ValueError(f"{file} is damaged: {error}") from None
        if rows != table.metadata.num_rows:
            raise ValueError(f"{file} is damaged: of {table.metadata.num_rows} rows the column {column} has {rows}")

    told = file.stat()
    state = repr((str(file.resolve()), told.st_size, told.st_mtime_ns, told.st_ctime_ns))
    return Rows(str(file), file.parent, state, table.schema_arrow, read)
