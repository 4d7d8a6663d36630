"""What a condensed set must be, checked at its door: types, shapes and ranges, and that its parts fit together."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from attar.data.table import Column, Columns

WHITENING = ("mean_image", "whitening", "eps")  # two tensors and an entry
TENSORS = ("images", "labels")
MORE_TENSORS = ("soft", "targets", "mean_image", "whitening", "step", "step_sizes", "codes")
ENTRIES, MORE_ENTRIES = ("classes", "factor", "space", "mean", "std"), ("columns", "eps", "step_size", "decoder")
DECODER = "decoder."  # what the names of a decoder's weights begin with
ADDED = ("format", "sha256", "bytes", "files", "checksum")  # to a provenance, in the manifest that it becomes
SPACES = ("unit", "normalised")
FLOATS = (torch.float32, torch.float64)
FAR = 10.0  # what lies beyond was not meant for pixels on [0, 1]
LEAST = 1e-4  # a tenth of the least deviation that is measured
LONGEST_STEP = 1000.0  # of an optimiser: by a longer one nothing is learned
LONGEST = 10_000  # bits of a whole number: Python prints no more than 4300 digits
DEEPEST = 50  # levels of a provenance: what writes and prints it calls itself once or twice a level
# What a provenance may say, and of what type: as it is printed, compared and counted with. It may say more.
TEXT, WHOLE, NUMBER, TABLE, LIST, TRUTH = (str,), (int,), (int, float), (dict,), (list, tuple), (bool,)
KNOWN: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("method", "data", "network", "fingerprint", "split"), TEXT),
    "seed": WHOLE,
    "flip": TRUTH,
    **dict.fromkeys(("seconds", "cached_seconds"), NUMBER),
    **dict.fromkeys(("hyperparameters", "engine", "begun_on", "versions", "expect", "certificate"), TABLE),
    **dict.fromkeys(("recipe", "indices", "shards"), LIST),
}
CALLED: dict[tuple[type, ...], str] = {
    TEXT: "text",
    WHOLE: "a whole number",
    NUMBER: "a number",
    TABLE: "a table",
    LIST: "a list",
    TRUTH: "true or false",
}


def check_parts(tensors: dict[str, Any], entries: dict[str, Any]) -> None:
    """What a file holds: all parts of a set, none that no set has, and lists where a set has tuples."""
    kinds = ("tensor", tensors, TENSORS, MORE_TENSORS), ("entry", entries, ENTRIES, MORE_ENTRIES)
    for kind, found, needed, allowed in kinds:
        for name in needed:
            if name not in found:
                raise ValueError(f"there is no {kind} {name!r}")
        for name in found:
            if name not in (*needed, *allowed) and not (name.startswith(DECODER) and "decoder" in entries):
                raise ValueError(f"there is an unknown {kind} {quote(name)}; known: {', '.join((*needed, *allowed))}")
    if "codes" in tensors and "decoder" not in entries:
        raise ValueError("there is a tensor 'codes', but no entry 'decoder' that says which generator takes them")
    if not isinstance(entries["classes"], list):
        raise ValueError(f"the classes are {quote(entries['classes'])}; expected a list of names")
    check_moments(entries["mean"], "mean")
    check_moments(entries["std"], "std")


def check_classes(classes: Any) -> None:
    """A tuple of names, of which at least two differ. Data sets with two classes of one name exist."""
    if not isinstance(classes, tuple):
        raise ValueError(f"the classes are {quote(classes)}; expected a tuple of names")
    for i, name in enumerate(classes):
        if not isinstance(name, str):
            raise ValueError(f"the name of class {i} is {quote(name)}; expected text")
    if len(set(classes)) < 2:
        raise ValueError(f"the classes are {quote(classes)}; expected at least two different names")


def check_images(images: Any, space: Any) -> None:
    """`(n, c, h, w)` with n at least 1, of float32 or float64; near to [0, 1] in the space `unit`."""
    if not isinstance(space, str) or space not in SPACES:
        raise ValueError(f"the space is {quote(space)}; expected {' or '.join(map(repr, SPACES))}")
    check_floats(images, "images")
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"the images have the shape {tuple(images.shape)}; expected (n, c, h, w), none of them 0")
    largest = find_largest(images, "images")
    # Not [0, 1]: a method of one's own may leave it a little, and what is decoded is clamped.
    if space == "unit" and largest > FAR:
        raise ValueError(f"the images hold values as large as {largest:g}; in the space 'unit' they lie on [0, 1]")


def check_floats(values: Any, what: str) -> None:
    if not isinstance(values, Tensor) or values.dtype not in FLOATS:
        raise ValueError(f"the {what} are {describe_type(values)}; expected a tensor of float32 or float64")
    check_dense(values, what)


def check_dense(values: Tensor, what: str) -> None:
    """Raises `ValueError` for a tensor that is not stored as a value for each index."""
    if values.is_meta or values.is_nested or values.layout != torch.strided:
        kind = "on the device meta" if values.is_meta else "sparse or nested"
        raise ValueError(f"the {what} are {kind}; expected a dense tensor that holds its values")


def find_largest(values: Tensor, what: str) -> float:
    """The largest absolute value. Raises `ValueError` where it is not finite."""
    largest = max(abs(end.item()) for end in values.aminmax())  # which are NaN where any value is
    if not math.isfinite(largest):
        raise ValueError(f"the {what} hold values that are NaN or infinite")
    return largest


def check_labels(labels: Any, count: int, classes: Sequence[str]) -> None:
    """A class for each of `count` images."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise ValueError(f"the labels are {describe_type(labels)}; expected a tensor of int64")
    check_dense(labels, "labels")
    if labels.shape != (count,):
        raise ValueError(f"the labels have the shape {tuple(labels.shape)}; expected ({count},), one for each image")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise ValueError(f"the labels go from {low} to {high}; expected 0 to {len(classes) - 1}, as the classes do")


def check_step_size(value: Any) -> None:
    """A number above 0, as one trains with it."""
    if not is_a(value, NUMBER) or not 0 < value <= LONGEST_STEP:
        told = f"expected a number above 0, of at most {LONGEST_STEP:g}"
        raise ValueError(f"the learned step_size is {quote(value)}; {told}")


def check_moments(values: Any, name: str, channels: int | None = None) -> None:
    """Means or deviations (`std`) of images on [0, 1]. They lie far within the bounds."""
    low = LEAST if name == "std" else -FAR
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} is {quote(values)}; expected a number for each channel")
    for value in values:
        # This way round, since NaN is in no order to any number.
        if not is_a(value, NUMBER) or not low <= value <= FAR:
            expected = f"numbers from {low:g} to {FAR:g}, for images on [0, 1]"
            raise ValueError(f"{name} holds {quote(value)}; expected {expected}")
    if channels is not None and len(values) != channels:
        raise ValueError(f"{name} has {len(values)} numbers; expected {channels}, one for each channel")


def read_columns(entry: Any) -> Columns:
    """The columns of a table, from what a file holds. Raises `ValueError` where they are none."""
    if not isinstance(entry, list):
        raise ValueError(f"the columns are {quote(entry)}; expected a list")
    for one in entry:
        if not isinstance(one, dict) or one.keys() != {part.name for part in fields(Column)}:
            raise ValueError(f"a column is {quote(one)}; expected its name, low, high and category")
    return tuple(Column(**one) for one in entry)


def check_columns(columns: Any, shape: tuple[int, ...]) -> None:
    """A column for each channel of images of one pixel, which are the rows of a table."""
    if not isinstance(columns, tuple) or not all(isinstance(column, Column) for column in columns):
        raise ValueError(f"the columns are {quote(columns)}; expected a tuple of columns")
    if shape != (len(columns), 1, 1):
        raise ValueError(f"there are {len(columns)} columns, but the rows have the shape {shape}; expected (d, 1, 1)")
    for column in columns:
        ends = column.low, column.high
        if not all(is_a(end, NUMBER) and math.isfinite(end) for end in ends) or column.low > column.high:
            raise ValueError(f"the column {quote(column.name)} goes from {quote(ends[0])} to {quote(ends[1])}")
        if not is_a(column.name, TEXT) or not (column.category is None or is_a(column.category, TEXT)):
            raise ValueError(f"a column is {quote(column)}; expected text for its name and category")


def check_rows(rows: Any, what: str, decoded: int, classes: int) -> None:
    """A row for each decoded image, a column for each class."""
    check_floats(rows, what)
    if rows.shape != (decoded, classes):
        told = f"expected ({decoded}, {classes}), a row for each decoded image and a column for each class"
        raise ValueError(f"the {what} have the shape {tuple(rows.shape)}; {told}")
    find_largest(rows, what)


def check_provenance(provenance: Any) -> None:
    """What JSON can hold, and where Attar itself has something to say by that name, of its type."""
    if not isinstance(provenance, dict):
        raise ValueError(f"the provenance is {quote(provenance)}; expected a table")
    check_json(provenance, "the provenance")
    for name in ADDED:
        if name in provenance:
            raise ValueError(f"the provenance has the key {name!r}, which the manifest uses itself")
    check_entries(provenance)
    for shard in provenance.get("shards", ()):
        if isinstance(shard, dict):
            check_entries(shard)


def check_entries(provenance: dict[str, Any]) -> None:
    """What Attar itself says by a name is of its type."""
    for name, types in KNOWN.items():
        if name in provenance and not is_a(provenance[name], types):
            raise ValueError(f"the provenance's {name} is {quote(provenance[name])}; expected {CALLED[types]}")
    for name in ("seconds", "cached_seconds"):
        if not 0 <= provenance.get(name, 0) < math.inf:
            raise ValueError(f"the provenance's {name} is {provenance[name]}; expected a time")


def check_json(value: Any, where: str, depth: int = 0) -> None:
    """Tables with text for keys, lists, text, numbers, truth values and nothing, at most `DEEPEST` levels of them."""
    if depth > DEEPEST:
        raise ValueError(f"{quote(where)} has more than {DEEPEST} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {quote(key)}; expected text")
            check_json(inner, f"{where}'s {key}" if not depth else where, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_json(inner, where, depth + 1)
    elif isinstance(value, int) and value.bit_length() > LONGEST:
        raise ValueError(f"{where} holds a whole number of more than {LONGEST:,} bits")
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError(f"{where} holds {quote(value)}; expected what JSON can hold")


def is_a(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # which to Python is a whole number
        return bool in types
    return isinstance(value, types)


def describe_type(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor) else f"a {type(value).__name__}"


def quote(value: Any) -> str:
    """A value in a few words and a line, whatever it is."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python prints no number of more than 4300 digits
        return f"a {type(value).__name__} of very large numbers"
