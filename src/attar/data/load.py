"""Data from anywhere as a task: a reader gives checked parts, and parts become a task."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from attar.data.check import Found, Given, Parts, check_parts, moments
from attar.data.hold_out import hold_out
from attar.data.known_sets import DATASETS, Known, cache_file, read_known
from attar.data.normalisation import Normalisation
from attar.data.numpy_files import read_npy, read_npz
from attar.data.task import Examples, Task, hash_examples
from attar.data.torch_datasets import is_array, name_of, read_datasets
from attar.data.value_range import Range, check_range
from attar.files import read_json, write_json
from attar.networks.by_name import make_network
from attar.wording import unknown

HELD_OUT = 0.1
RESERVED = (*DATASETS, "toy")  # names that have recipes of their own, which own data must not get by chance


class Reader(NamedTuple):
    """Reads what lies at a path that follows a prefix, such as `npz:PATH`."""

    read: Callable[[Path], Found]
    place: str
    about: str


READERS = {
    "npz": Reader(read_npz, "PATH", "images and labels of a NumPy file"),
    "npy": Reader(read_npy, "FOLDER", "images and labels of NumPy files, which may be larger than memory"),
}


def load_data(
    data: Any,
    *,
    root: Path | str | None = None,
    download: bool = False,
    network: str | None = None,
    quiet: bool = False,
    value_range: Any = None,
    flip: bool | None = None,
) -> Task:
    """A task from what a user has.

    `data` is a `Task` (taken as it is), the name of a known set, `npz:PATH` or `npy:FOLDER`. From Python it may also be
    `(x, y)`, `(x, y, x_test, y_test)`, a `Dataset`, or two of them.

    Known sets are read from `root`, by default the folder `data` of the cache, in torchvision's or the Hugging Face
    hub's layout. Nothing is written there unless `download` fetches a missing set. Images are bytes or floats in
    [0, 1], of `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)`. Labels are numbers or names. Arrays of `npy:FOLDER` may be
    larger than the memory: those of uint8 or float32 are read from where they lie. `value_range` is what black and
    white are in own data of another scale, such as `(0, 16)`; its values then become floats in [0, 1]. `flip` says
    whether a mirrored image keeps its class, so that augmentation may mirror it: by default as the literature has it
    for known sets, and not for own data.

    Without a test part 10 % of the examples (of `digits` 20 %) are held out, stratified. `network` is a known name, or
    `file.py:Name`; by default that of the task, or `convnet`. Raises `ValueError` with one sentence where the data is
    missing, damaged or no labelled image set.
    """
    if value_range is not None:
        value_range = check_range(value_range)
        if isinstance(data, Task) or (isinstance(data, str) and data in DATASETS):
            raise ValueError("value_range is for data of your own: what black and white are is known of this")
    if isinstance(data, Task):
        data = data if network is None else data.with_network(network)
        return data if flip is None else dataclasses.replace(data, flip=flip)
    name, found = read(data, root, download, quiet, value_range)
    known = DATASETS.get(data) if isinstance(data, str) else None
    return make_task(name, found, network or "convnet", known, flip)


def read(
    data: Any, root: Path | str | None, download: bool, quiet: bool, value_range: Range | None
) -> tuple[str, Parts]:
    """A name for the data, and its checked parts."""
    if not isinstance(data, str):
        name, found = read_objects(data, quiet)
        return name, check_parts(*found, value_range=value_range)
    prefix, colon, rest = data.partition(":")
    try:
        if colon and prefix in READERS:
            path = Path(rest).expanduser()
            whole = path.resolve()  # `npy:.` has a name too
            # A folder's name may hold a dot; a file's suffix says nothing of its data.
            name = whole.stem if whole.is_file() else whole.name
            return name, check_parts(*READERS[prefix].read(path), value_range=value_range)
        if data not in DATASETS:
            if Path(data).expanduser().exists():
                raise ValueError(f"{data} is a path; how it is read is said by a prefix: {propose_prefixes(data)}")
            places = [f"{prefix}:{reader.place}" for prefix, reader in READERS.items()]
            raise ValueError(unknown("data set", data, [*DATASETS, *places]))
        return data, read_known(data, None if root is None else Path(root).expanduser(), download, quiet)
    except OSError as error:
        raise ValueError(f"cannot read {data}: {error}") from None


def propose_prefixes(path: str) -> str:
    """The path with each prefix that it may have."""
    place = "FOLDER" if Path(path).expanduser().is_dir() else "PATH"
    return " or ".join(f"{prefix}:{path}" for prefix, reader in READERS.items() if reader.place == place)


def read_objects(data: Any, quiet: bool) -> tuple[str, Found]:
    """The arrays or datasets of a Python caller."""
    if not isinstance(data, tuple):
        return name_of(data), read_datasets(data, None, quiet)
    if len(data) == 2 and not any(map(is_array, data)):
        return name_of(data[0]), read_datasets(*data, quiet)
    if len(data) not in (2, 4):
        raise ValueError(f"a tuple of {len(data)} is no data; expected (x, y), (x, y, x_test, y_test), or two datasets")
    test = Given("the test", *data[2:]) if data[2:] else None
    return "arrays", Found(Given("the training", *data[:2]), test)


def make_task(name: str, found: Parts, network: str, known: Known | None = None, flip: bool | None = None) -> Task:
    """The parts as a task.

    Normalisation and flips are as the literature has them for known sets. Else means and deviations are measured, and
    nothing is mirrored unasked: left and right may be what tells classes apart.
    """
    if flip is None:
        flip = known is not None and known.flip
    train, test, split = found.train, found.test, "test set"
    if test is None:
        train, test, split = hold_out(train, found.classes, known.held_out if known else HELD_OUT)
    train, measured = measure(train, name, found.files)
    return Task(
        name=f"own-{name}" if known is None and name in RESERVED else name,
        train=train,
        test=test,
        classes=found.classes,
        normalisation=(known and known.normalisation) or measured,
        network=make_network(network, tuple(train.x.shape[1:]), len(found.classes)),
        split=split,
        flip=flip,
    )


def measure(train: Examples, name: str, files: Sequence[Path]) -> tuple[Examples, Normalisation]:
    """The examples with their fingerprint, and what normalises them.

    Both come from the cache where these very files were measured before.
    """
    path = cache_file(name, files, ".json")
    try:
        facts = read_json(path)
    except ValueError:
        mean, std = moments(train.x)
        facts = {"mean": mean, "std": std, "fingerprint": hash_examples(train)}
        with suppress(OSError):  # a cache that cannot be written only costs time
            if files:  # arrays have no size and time of a file to be known again by
                write_json(path, facts)
    marked = Examples(train.x, train.y, train.group, facts["fingerprint"])
    return marked, Normalisation(tuple(facts["mean"]), tuple(facts["std"]))
