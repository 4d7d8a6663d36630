"""Data from anywhere as a task: a reader gives checked parts, and parts become a task."""

import dataclasses
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from attar.arguments import checked, resolve_home
from attar.data.check import Found, Given, Judge, Parts, check_parts
from attar.data.hold_out import hold_out
from attar.data.known_sets import DATASETS, Known, read_known
from attar.data.measure import measure
from attar.data.numpy_files import read_npy, read_npz
from attar.data.task import Task, hash_examples
from attar.data.torch_datasets import is_array, name_of, read_datasets
from attar.data.value_range import Range, check_range
from attar.engine.ambient import plain_torch
from attar.networks.by_name import make_network
from attar.wording import make_visible, unknown

Split = Literal["test", "validation", "held-out"]
LONGEST_NAME = 60
HELD_OUT = 0.1
RESERVED = (*DATASETS, "toy")  # names that have recipes of their own, which own data must not get by chance


class Reader(NamedTuple):
    """Reads what lies at a path that follows a prefix, such as `npz:PATH`, with the part that judges."""

    read: Callable[[Path, Judge], Found]
    place: str
    about: str


READERS = {
    "npz": Reader(read_npz, "PATH", "images and labels of a NumPy file"),
    "npy": Reader(read_npy, "FOLDER", "images and labels of NumPy files, which may be larger than memory"),
}


@checked
@plain_torch()
def load_data(
    data: Any,
    *,
    root: Path | str | None = None,
    download: bool = False,
    network: str | None = None,
    quiet: bool = False,
    value_range: Any = None,
    flip: bool | None = None,
    split: Split | None = None,
    name: str | None = None,
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

    `split` says what judges: the `"test"` part, the `"validation"` part (`x_val` and `y_val` of NumPy files), or
    training images that are `"held-out"`. By default it is the test part, or without one 10 % of the training images
    (of `digits` 20 %), stratified. `name` is what own data is called in plans, rows and reports. `network` is a known
    name, or `file.py:Name`; by default that of the task, or `convnet`.

    Raises `ValueError` with one sentence where the data is missing, damaged or no labelled image set.
    """
    refuse_options(data, value_range, split, name)
    if isinstance(data, Task):
        data = data if network is None else data.with_network(network)
        return data if flip is None else dataclasses.replace(data, flip=flip)
    ends = None if value_range is None else check_range(value_range)
    found_name, found = read(data, None if root is None else Path(root), download, quiet, ends, split)
    known = DATASETS.get(data) if isinstance(data, str) else None
    return make_task(name or found_name, found, network or "convnet", known, flip, split)


def refuse_options(data: Any, value_range: Any, split: Split | None, name: str | None) -> None:
    """Raises `ValueError` for an option that says what is known of such data, and for a name that none may have."""
    known = isinstance(data, str) and data in DATASETS
    if known or isinstance(data, Task):
        if value_range is not None:
            raise ValueError("value_range is for data of your own: black and white of this data are known")
        if name is not None:
            raise ValueError(f"name is for data of your own: this data is called {data if known else data.name}")
    if isinstance(data, Task) and split is not None:
        raise ValueError("split is for data that is still to be read, and a Task has its test part already")
    if split == "validation" and (known or not isinstance(data, str)):
        told = f"{data} has none" if known else "give what judges as (x, y, x_test, y_test), or as the second dataset"
        raise ValueError(f"split is validation, but only NumPy files have a part of that name: {told}")
    if name is not None:
        check_name(name)


def check_name(name: str) -> None:
    """Raises `ValueError` where own data must not be called this."""
    if name.casefold() in RESERVED:  # on some systems a recipe is found whatever its case
        raise ValueError(f"name is {name!r}, as a known set is called: give your data a name of its own")
    plain = make_visible(name) == name == " ".join(name.split()) and not set(name) & set("/\\")
    if not plain or not 0 < len(name) <= LONGEST_NAME:
        expected = f"expected a line of at most {LONGEST_NAME} visible letters, without slashes"
        raise ValueError(f"name is {reprlib.repr(name)}; {expected}")


def read(
    data: Any, root: Path | None, download: bool, quiet: bool, value_range: Range | None, split: Split | None
) -> tuple[str, Parts]:
    """A name for the data, and its checked parts: without a test part where one is to be held out."""
    if not isinstance(data, str):
        name, found = read_objects(data, quiet)
        return name, check(found, value_range, split)
    prefix, _, rest = data.partition(":")
    try:
        if rest and prefix in READERS:
            path = resolve_home("data", Path(rest))
            whole = path.resolve()  # `npy:.` has a name too
            # A folder's name may hold a dot; a file's suffix says nothing of its data.
            name = whole.stem if whole.is_file() else whole.name
            found = READERS[prefix].read(path, "validation" if split == "validation" else "test")
            return name, check(found, value_range, split)
        if data not in DATASETS:
            if data and resolve_home("data", Path(data)).exists():
                raise ValueError(f"{data} is a path; a prefix says how to read it: {propose_prefixes(data)}")
            places = [f"{prefix}:{reader.place}" for prefix, reader in READERS.items()]
            raise ValueError(unknown("data set", data, [*DATASETS, *places]))
        return data, read_known(data, root, download, quiet)
    except OSError as error:
        raise ValueError(f"cannot read {data}: {error}") from None


def check(found: Found, value_range: Range | None, split: Split | None) -> Parts:
    """The parts, checked. One that does not judge may be anything: labels of test parts are often kept secret."""
    wanted = found._replace(test=None) if split == "held-out" else found
    return check_parts(*wanted, value_range=value_range)


def propose_prefixes(path: str) -> str:
    """The path with each prefix that it may have."""
    place = "FOLDER" if resolve_home("data", Path(path)).is_dir() else "PATH"
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


def make_task(
    name: str,
    found: Parts,
    network: str,
    known: Known | None = None,
    flip: bool | None = None,
    split: Split | None = None,
) -> Task:
    """The parts as a task.

    Normalisation and flips are as the literature has them for known sets. Else means and deviations are measured, and
    nothing is mirrored unasked: left and right may be what tells classes apart.
    """
    if flip is None:
        flip = known is not None and known.flip
    train, test, told = found.train, found.test, f"{split or 'test'} set"
    if split == "test" and test is None:
        raise ValueError(f"split is test, but {name} has no test part: by default one is held out")
    if split == "held-out" or test is None:
        train, test, told = hold_out(train, found.classes, known.held_out if known else HELD_OUT)
    fingerprint = hash_examples(train)
    return Task(
        name=f"own-{name}" if known is None and name in RESERVED else name,
        train=dataclasses.replace(train, fingerprint=fingerprint),
        test=test,
        classes=found.classes,
        normalisation=(known and known.normalisation) or measure(train.x, fingerprint),
        network=make_network(network, tuple(train.x.shape[1:]), len(found.classes)),
        split=told,
        flip=flip,
    )
