"""Data sets as the Hugging Face library reads them: from its hub, or from a folder of pictures or Parquet files."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attar.data.check import Found
from attar.data.encoded_table import AT_ONCE, Rows, read_table
from attar.data.reading import Reading
from attar.files import cache_folder
from attar.wording import cut

BUILDERS = ("arrow", "imagefolder", "parquet")  # others read text or sounds, or unpack what somebody chose
NAME = re.compile(r"(?P<path>[\w.-]+(/[\w.-]+)?)(:(?P<name>[\w.-]+))?")  # of a set on the hub, and its configuration


def read_hub(place: Path, reading: Reading) -> Found:
    """A folder, or the name of a data set on the hub, `NAME` or `NAME:CONFIG`. What is downloaded lies in the cache.

    Raises `ValueError` where the library is not installed, or cannot read it.
    """
    try:
        from datasets import load_dataset_builder
    except ImportError as error:
        told = f"hf:{place} needs the Hugging Face library datasets ({error})"
        raise ValueError(f"{told}: pip install 'attar[hf]'") from None
    if place.is_file():
        raise ValueError(f"{place} is a file: a Parquet file is read as parquet:{place}")
    shown = not reading.quiet and sys.stderr.isatty()
    with quiet_library(shown), named_errors(f"hf:{place}"):
        builder = load_dataset_builder(**parse_place(place), cache_dir=str(cache_folder() / "datasets"))
        if builder.info.builder_name not in BUILDERS:
            raise ValueError(f"it holds {builder.info.builder_name} files; expected pictures or Parquet files")
        builder.download_and_prepare()
        parts = builder.as_dataset()
    return read_table(str(place), list(parts), lambda name: [take(parts[name], f"{place}, {name}")], reading)


def parse_place(place: Path) -> dict[str, str | None]:
    """What the library calls it. Raises `ValueError` for what is neither a folder nor a name."""
    if place.is_dir():
        return {"path": str(place.resolve())}  # a relative path could be a name
    if parsed := NAME.fullmatch(str(place)):
        return parsed.groupdict()
    raise ValueError("there is no such folder, and a data set on the hub is called NAME, OWNER/NAME or NAME:CONFIG")


def take(dataset: Any, what: str) -> Rows:
    """The rows of one part, whose images stay encoded."""

    def read(column: str) -> Iterator[list[Any]]:
        for table in dataset.select_columns([column]).with_format("arrow").iter(AT_ONCE):
            yield table.column(0).to_pylist()

    return Rows(what, Path(), dataset._fingerprint, dataset.features.arrow_schema, read)


@contextmanager
def quiet_library(bars: bool) -> Iterator[None]:
    """Within the block its bars are shown or not, and nothing is said of each attempt to reach the hub."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    log, change = logging.getLogger("huggingface_hub"), not bars and not are_progress_bars_disabled()
    level = log.level
    log.setLevel(logging.ERROR)
    if change:
        disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if change:
            enable_progress_bars()


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Whatever the library raises becomes one `ValueError`, which says what it came from in the first place."""
    try:
        yield
    except MemoryError:  # no fault of the data
        raise
    except ConnectionError:
        told = "the Hugging Face hub cannot be reached, and nothing of that name was downloaded before"
        raise ValueError(f"cannot read {what}: {told}") from None
    except Exception as error:  # of the library and of those it calls: of more types than these document
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        raise ValueError(f"cannot read {what}: {cut(' '.join(str(first).split()), 400)}") from None
