"""Parquet files in the layout of the Hugging Face hub: encoded images, integer labels, class names in the metadata."""

import io
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from attar.data.check import Given, decode_image, stack_images, watch
from attar.wording import in_a_line

INNER = ("", "data", "plain_text")  # where copies of the hub keep their files: "plain_text" is CIFAR's
IMAGES = ("image", "img")
LABELS = ("label", "fine_label", "labels")  # fine, as CIFAR-100 has coarse ones too


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


def read_shards(files: list[Path], title: str, quiet: bool) -> tuple[Given, Given, list[str] | None]:
    """Training and test part, and the names of the classes. Raises `ValueError` naming a damaged file and row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # All before the first image is decoded: a broken last file should not cost the time of the others.
    opened = {}
    for file in files:
        try:
            opened[file] = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file} is damaged, or no Parquet file: {error}") from None

    def given(part: str, prefix: str) -> Given:
        tables = {file: table for file, table in opened.items() if file.name.startswith(prefix)}
        total = sum(table.metadata.num_rows for table in tables.values())
        labels: list[int] = []
        rows = (row for file, table in tables.items() for row in read_rows(file, table, labels))
        x = stack_images(watch(rows, total, f"decoding {title}, {part} part", quiet), total)
        return Given(f"{files[0].parent}: the {part}", x, np.array(labels))

    return given("training", "train-"), given("test", "test-"), class_names(opened[files[0]])


def read_rows(file: Path, table: Any, collected: list[int]) -> Iterator[tuple[str, np.ndarray]]:
    """A name for errors and the pixels of each row, whose labels are `collected`."""
    import pyarrow as pa

    names = table.schema_arrow.names
    columns = [next((name for name in known if name in names), None) for known in (IMAGES, LABELS)]
    if None in columns:
        raise ValueError(
            f"{file} has the columns {', '.join(names)}; expected {' or '.join(IMAGES)}, and {' or '.join(LABELS)}"
        )
    row = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: Pillow decodes without Python's lock
        try:
            # A thousand at a time, as a file may hold more images than the memory.
            for batch in table.iter_batches(1000, columns=columns):
                encoded, labels = (batch.column(name).to_pylist() for name in columns)
                whats = [f"{file}: the image of row {row + i}" for i in range(len(labels))]
                if None in labels:
                    raise ValueError(f"{file}: row {row + labels.index(None)} has no label")
                collected += labels
                yield from zip(whats, pool.map(decode_cell, encoded, whats), strict=True)
                row += len(labels)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file} is damaged: {error}") from None


def decode_cell(cell: Any, what: str) -> np.ndarray:
    """A cell's image, decoded from the bytes it holds."""
    from PIL import Image, ImageOps

    encoded = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(encoded, bytes):
        raise ValueError(f"{what} is not in the file")
    try:
        # A camera writes beside a photograph how it was held. This also reads the pixels.
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{what} is too large: {error}") from None
    except MemoryError:  # no fault of the image
        raise
    except Exception as error:  # of Pillow: of more types than it documents
        raise ValueError(f"{what} is damaged: {in_a_line(error)}") from None
    return decode_image(picture, what)


def class_names(table: Any) -> list[str] | None:
    try:
        features = json.loads(table.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        names = next(features[name]["names"] for name in LABELS if name in features)
    except (KeyError, RecursionError, StopIteration, TypeError, ValueError):  # none that can be read: numbers will do
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
