"""Data from anywhere as a task: a reader gives checked parts, and parts become a task."""

import dataclasses
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attar.arguments import checked, resolve_home
from attar.data.check import Found, Given, Judge, Parts, check_parts
from attar.data.decoding import Decoding
from attar.data.groups import check_own, split_groups, with_groups
from attar.data.hold_out import hold_out
from attar.data.known_sets import DATASETS, Known, read_known
from attar.data.measure import measure
from attar.data.readers import READERS, recognise, refuse_untaken
from attar.data.reading import Reading
from attar.data.table import measure_columns, scale
from attar.data.task import Task, hash_examples
from attar.data.torch_datasets import is_array, name_of, read_datasets
from attar.data.value_range import check_range
from attar.engine.ambient import plain_torch
from attar.networks.by_name import make_network, usual_network
from attar.wording import make_visible

Split = Literal["test", "validation", "held-out"]
LONGEST_NAME = 60
HELD_OUT = 0.1
RESERVED = (*DATASETS, "toy")  # names that have recipes of their own, which own data must not get by chance


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
    size: int | None = None,
    skip_damaged: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    categories: Sequence[str] = (),
    group: Any = None,
) -> Task:
    """A task from what a user has.

    `data` is a `Task` (taken as it is), the name of a known set, or a path after one of the prefixes of `READERS`, such
    as `folder:PATH` or `npz:PATH`. A path alone is read as its content suggests. From Python it may also be `(x, y)`,
    `(x, y, x_test, y_test)`, a `Dataset`, or two of them.

    Known sets are read from `root`, by default the folder `data` of the cache, in torchvision's or the Hugging Face
    hub's layout. Nothing is written there unless `download` fetches a missing set. Images are bytes or floats in
    [0, 1], of `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)`. Labels are numbers or names. Arrays of `npy:FOLDER` may be
    larger than the memory: those of uint8 or float32 are read from where they lie. `value_range` is what black and
    white are in own data of another scale, such as `(0, 16)`; its values then become floats in [0, 1]. `flip` says
    whether a mirrored image keeps its class, so that augmentation may mirror it: by default as the literature has it
    for known sets, and not for own data.

    `size` is for encoded pictures: their short side is resized to it, and their centre cropped. With `skip_damaged`
    those that cannot be decoded are left out, which is logged. `image_column` and `label_column` name the columns of a
    table of pictures, where its types and names leave a choice.

    Arrays of two axes, data frames and `table:PATH` are tables. Each number becomes a channel, and each category of a
    column of text or truth values has one of its own, which is logged. `categories` names further such columns, whose
    values are numbers. Labels are in `label_column`, or in the column that is called label, target, class or y.

    `group` is a second label of each example, by which `attar.audit` measures fairness. For files it is the name of a
    column, or of arrays such as `group` and `group_test`, and `folder` for folders within a class's folder. Arrays may
    be given for the training examples, or as a pair for those and the test examples.

    `split` says what judges: the `"test"` part, the `"validation"` part (`x_val` and `y_val` of NumPy files), or
    training images that are `"held-out"`. By default it is the test part, or without one 10 % of the training images
    (of `digits` 20 %), stratified. `name` is what own data is called in plans, rows and reports. `network` is a known
    name, or `file.py:Name`; by default that of the task, or `convnet`, and `mlp` for tables.

    Raises `ValueError` with one sentence where the data is missing, damaged or no labelled image set or table.
    """
    data = recognise(data) if isinstance(data, str) else data
    refuse_options(data, value_range, split, name, categories, group)
    decoding, columns = Decoding(size, skip_damaged), {"image_column": image_column, "label_column": label_column}
    refuse_untaken(data, {"size": size, "skip_damaged": skip_damaged} | columns)
    if isinstance(data, Task):
        data = data if network is None else data.with_network(network)
        data = data if flip is None else dataclasses.replace(data, flip=flip)
        return data if group is None else regroup(data, group)
    ends = None if value_range is None else check_range(value_range)
    if isinstance(data, str) and data in DATASETS:
        with naming(data):
            parts = read_known(data, None if root is None else Path(root), download, quiet)
        if isinstance(group, str):
            check_own(data, group, DATASETS[data].grouped_by)
        elif group is not None:
            parts = with_groups(parts, *split_groups(group))
        return make_task(data, parts, network, DATASETS[data], flip, split)
    named = group if isinstance(group, str) else None
    judge: Judge = "validation" if split == "validation" else "test"
    held_out = split == "held-out"
    reading = Reading(judge=judge, held_out=held_out, decoding=decoding, **columns, group=named, quiet=quiet)
    own, found = read(data, reading)
    # One that does not judge may be anything: labels of test parts are often kept secret.
    test = None if held_out or (split == "test" and found.judge != "test") else found.test
    parts = check_parts(found.train, test, found.names, ends, categories)
    if named is not None:
        parts = with_groups(parts, found.train.group, test and test.group)
    elif group is not None:
        parts = with_groups(parts, *split_groups(group))
    return make_task(name or own, parts, network, None, flip, split or found.judge if test else split)


def regroup(task: Task, group: Any) -> Task:
    """The same data with these labels of groups."""
    parts = with_groups(Parts(task.train, task.test, task.classes), *split_groups(group))
    assert parts.test is not None
    train = dataclasses.replace(parts.train, fingerprint=task.fingerprint)
    return dataclasses.replace(task, train=train, test=parts.test, groups=parts.groups)


def refuse_options(
    data: Any, value_range: Any, split: Split | None, name: str | None, categories: Sequence[str], group: Any
) -> None:
    """Raises `ValueError` for an option that says what is known of such data, and for a name that none may have."""
    known = isinstance(data, str) and data in DATASETS
    if known or isinstance(data, Task):
        if value_range is not None:
            raise ValueError("value_range is for data of your own: black and white of this data are known")
        if name is not None:
            raise ValueError(f"name is for data of your own: this data is called {data if known else data.name}")
        if categories:
            raise ValueError("categories is for tables of your own that are still to be read")
    if isinstance(data, Task) and split is not None:
        raise ValueError("split is for data that is still to be read, and a Task has its test part already")
    if isinstance(group, str) and not isinstance(data, str):
        raise ValueError(f"group is {group!r}, a name, as only files have: give the groups of the examples themselves")
    if split == "validation" and (known or not isinstance(data, str)):
        told = f"{data} has none" if known else "give what judges as (x, y, x_test, y_test), or as the second dataset"
        raise ValueError(f"split is validation, but only files of your own have a part of that name: {told}")
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


def read(data: Any, reading: Reading) -> tuple[str, Found]:
    """What own data is called, and what was found there."""
    if not isinstance(data, str):
        return read_objects(data, reading.quiet)
    prefix, _, rest = data.partition(":")
    path = resolve_home("data", Path(rest))
    whole = path.resolve()  # `npy:.` has a name too
    with naming(data):
        # A folder's name may hold a dot; a file's suffix says nothing of its data.
        return whole.stem if whole.is_file() else whole.name, READERS[prefix].read(path, reading)


@contextmanager
def naming(data: str) -> Iterator[None]:
    """What the system raises for files that cannot be read becomes one `ValueError`."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot read {data}: {error}") from None


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
    network: str | None,
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
    columns = found.columns
    if columns is not None:
        if flip:
            raise ValueError("flip is for images: rows of a table have no mirror image")
        columns = measure_columns(columns, train.x)  # of what is trained on: test rows may lie beyond
        train, test = (dataclasses.replace(part, x=scale(columns, part.x)) for part in (train, test))
    # Without groups: a set was made from the same images, whoever groups them.
    fingerprint, shape = hash_examples(dataclasses.replace(train, group=None)), tuple(train.x.shape[1:])
    return Task(
        name=f"own-{name}" if known is None and name in RESERVED else name,
        train=dataclasses.replace(train, fingerprint=fingerprint),
        test=test,
        classes=found.classes,
        normalisation=(known and known.normalisation) or measure(train.x, fingerprint),
        network=make_network(network or usual_network(shape), shape, len(found.classes)),
        split=told,
        flip=flip,
        columns=columns,
        groups=found.groups,
    )
