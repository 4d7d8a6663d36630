"""Tables in files: CSV and Parquet, one file or a folder with a training and a test part."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet, types

from attar.data.check import Found, Given
from attar.data.columns import holds_files
from attar.data.frame import Frame, check_names, find_missing
from attar.data.groups import check_column
from attar.data.reading import Reading
from attar.data.splits import PARTS, choose_parts
from attar.data.table import LABELS
from attar.wording import in_a_line, unknown

ENDINGS = (".csv", ".tsv", ".parquet")  # of a folder's files; one that is named may be called anything
MAGIC = b"PAR1"  # a Parquet file begins with this
SEPARATORS = ",;\t"
HEAD, LARGEST = 1 << 20, 2**31 - 1  # bytes that tell the kind of a file, and the most that Arrow reads at once
KINDS = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string, types.is_null)
SAVED = "save it in that encoding"


def read_tables(path: Path, reading: Reading) -> Found:
    """The rows of a CSV or Parquet file, by its content, or of the files of a folder: train, and perhaps test.

    Raises `ValueError` naming the file, and the column or row, of what cannot be read.
    """
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    files = list_files(path) if path.is_dir() else {path.stem: path}
    chosen = choose_parts(list(files), str(path), reading)
    columns = reading.label_column, reading.group
    given = read_part(files[chosen.train], "training", *columns)
    tested = None if chosen.test is None else read_part(files[chosen.test], chosen.judge, *columns)
    return Found(given, tested)


def is_table_file(path: Path) -> bool:
    """Whether a path without a prefix is meant for a table: a text file of columns, or a Parquet file without images.

    In a folder the file of the training part tells.
    """
    if path.is_dir():
        return any(is_table_file(path / f"{name}{ending}") for name in PARTS["train"] for ending in ENDINGS)
    return path.is_file() and (path.suffix.lower() in (".csv", ".tsv") or (is_parquet(path) and not holds_files(path)))


def is_parquet(path: Path) -> bool:
    """Whether a path is a file that begins as Parquet does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def list_files(folder: Path) -> dict[str, Path]:
    """Those of a folder by the name of their part. Raises `ValueError` where two have one name."""
    files: dict[str, Path] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file()):
        if file.stem in files:
            raise ValueError(f"{folder} has both {files[file.stem].name} and {file.name}: leave one out")
        files[file.stem] = file
    return files


def read_part(file: Path, part: str, label: str | None, group: str | None) -> Given:
    """The rows and labels of one file, and the column `group`, which stays one of the rows too.

    Raises `ValueError` where it has no rows, or a row has no label or no group.
    """
    table, line = read_file(file)
    names = table.column_names
    check_names(names, str(file))
    chosen = choose_labels(names, file, label)
    if not table.num_rows:
        raise ValueError(f"{file} has no rows")
    frame = Frame({name: to_values(table.column(i), file, name) for i, name in enumerate(names)}, line)
    if group is not None:
        check_column(group, names, str(file))
    for name, what in ((chosen, "label"), (group, "group")):
        if name is not None and (row := find_missing(frame.columns[name])) is not None:
            raise ValueError(f"{file}: {frame.place(row)} has no {what} in the column {name!r}")
    rows = Frame({name: frame.columns[name] for name in names if name != chosen}, line)
    return Given(f"{file}: the {part}", rows, frame.columns[chosen], None if group is None else frame.columns[group])


def choose_labels(names: Sequence[str], file: Path, label: str | None) -> str:
    """The column of the labels: the one asked for, or the only one of a known name. Raises `ValueError` else."""
    if label is not None:
        if label not in names:
            raise ValueError(f"{file}: {unknown('column', label, names)}")
        return label
    found = [name for name in names if name.casefold() in LABELS]
    if len(found) != 1:
        told = (
            f"both {found[0]} and {found[1]}" if found else f"no column called {', '.join(LABELS[:-1])} or {LABELS[-1]}"
        )
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        how = "name that of the labels with label_column, or --label-column"
        raise ValueError(f"{file} has {told}: {how}; its columns are {listed}")
    return found[0]


def read_file(file: Path) -> tuple[pa.Table, int | None]:
    """The table, and of CSV the line of its first row. Raises `ValueError` where the file is damaged."""
    with file.open("rb") as opened:
        head = opened.read(HEAD)
    if not head.strip():
        raise ValueError(f"{file} is empty")
    try:
        if head.startswith(MAGIC):
            return parquet.ParquetFile(file).read(), None
        table = read_csv(file, head)
        table.validate(full=True)  # that names and texts are UTF-8
        return table, 2
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not in UTF-8: {SAVED}") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is damaged, or no table: {in_a_line(error)}") from None


def read_csv(file: Path, head: bytes) -> pa.Table:
    """The first line names the columns. Commas, semicolons or tabs separate them, whichever it has most of."""
    first = head.partition(b"\n")[0]
    first.decode("utf-8")
    # In one block, as the types of columns are seen from the first alone; without threads errors name the row.
    size = min(max(file.stat().st_size + 1, HEAD), LARGEST)
    return csv.read_csv(
        file,
        csv.ReadOptions(use_threads=False, block_size=size),
        csv.ParseOptions(delimiter=max(SEPARATORS, key=lambda mark: first.count(mark.encode()))),
        csv.ConvertOptions(strings_can_be_null=True),
    )


def to_values(column: pa.ChunkedArray, file: Path, name: str) -> np.ndarray:
    """Numbers, truth values or text, with None or NaN for what is missing. Raises `ValueError` for another type."""
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_binary(kind):  # what Arrow makes of text that it cannot decode
        raise ValueError(f"{file}: the column {name!r} is not in UTF-8: {SAVED}")
    kind = pa.float64() if types.is_decimal(kind) else kind
    if not any(holds(kind) for holds in KINDS):
        raise ValueError(f"{file}: the column {name!r} holds {kind}; expected numbers, text, or true and false")
    return column.cast(kind).to_numpy()
