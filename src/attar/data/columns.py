"""Which columns of a table hold images and labels: seen from their types and names, or as the user says."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from attar.data.check import list_some
from attar.wording import unknown

Role = Literal["image", "label"]
IMAGES = ("image", "img")
LABELS = ("label", "fine_label", "labels")  # fine, as CIFAR-100 has coarse ones too
NAMES: dict[Role, tuple[str, ...]] = {"image": IMAGES, "label": LABELS}
BYTES = ("binary", "large_binary", "binary_view")
TEXT = ("string", "large_string", "string_view")
FEATURES: dict[Role, str] = {"image": "Image", "label": "ClassLabel"}  # in the words of the Hugging Face library
EXPECTED: dict[Role, str] = {
    "image": "encoded images, or paths of images",
    "label": "one whole number or name for each image",
}
MOST_CLASSES, FEWEST = 1000, 10  # where there are more classes than that, each needs so many images on average


class Roles(NamedTuple):
    """The names of the two columns, and those of the classes that integer labels count, where these have any."""

    image: str
    label: str
    names: list[str] | None


def choose_columns(schema: pa.Schema, what: str, image: str | None, label: str | None) -> Roles:
    """The columns that hold images and labels; `image` and `label` are those that the user names.

    Raises `ValueError` where a column lacks, where it could be several, or where it holds something else.
    """
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise ValueError(f"{what} has several columns {twice[0]}: leave all but one out")
    chosen = choose_column(schema, what, "image", image)
    labels = choose_column(schema, what, "label", label)
    if chosen == labels:
        raise ValueError(f"{what}: the column {chosen} cannot hold both the images and the labels")
    return Roles(chosen, labels, class_names(schema, labels))


def choose_column(schema: pa.Schema, what: str, role: Role, asked: str | None) -> str:
    """The column of that role: what is asked for, or the one with the most signs."""
    if asked is not None and asked not in schema.names:
        raise ValueError(f"{what}: {unknown('column', asked, schema.names)}")
    name = find_column(schema, what, role) if asked is None else asked
    kind = schema.field(name).type
    if not may_hold(kind, role):
        raise ValueError(f"{what}: the column {name} holds {kind}; expected {EXPECTED[role]}")
    return name


def find_column(schema: pa.Schema, what: str, role: Role) -> str:
    """The column with most signs of that role. Raises `ValueError` where none has any, or several have as many."""
    signs = {name: count_signs(schema, name, role) for name in schema.names}
    best = [name for name in signs if signs[name] and signs[name] == max(signs.values())]
    if not best:  # a known name that holds something else says why in the sentence about what was expected
        best = [name for name in schema.names if name in NAMES[role]][:1]
    if len(best) == 1:
        return best[0]
    told = f"{role}s may be {' or '.join(best)}" if best else f"expected {' or '.join(NAMES[role])} for the {role}s"
    how = f"name one with {role}_column, or --{role}-column"
    raise ValueError(f"{what} has the columns {', '.join(schema.names)}; {told}: {how}")


def say_choice(schema: pa.Schema, what: str, role: Role, name: str) -> None:
    """One logged sentence where this column was not the only choice."""
    others = [other for other in schema.names if other != name and count_signs(schema, other, role)]
    if others:
        told = f"to take {' or '.join(others)} instead, --{role}-column"
        logging.getLogger("attar").warning(f"{what}: the {role}s are the column {name}; {told}")


def count_signs(schema: pa.Schema, name: str, role: Role) -> int:
    """How much speaks for a column: its type, and its name. 0 where it cannot have the role."""
    kind = schema.field(name).type
    typed = read_features(schema).get(name, {}).get("_type") == FEATURES[role] or (role == "image" and is_encoded(kind))
    return may_hold(kind, role) * (typed + (name in NAMES[role]))


def may_hold(kind: pa.DataType, role: Role) -> bool:
    """Whether a column of this type may have that role."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if role == "image":
        return is_encoded(kind) or str(kind) in TEXT
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return numbers or str(kind) in TEXT or pa.types.is_null(kind)  # a column without a value: its first row is named


def is_encoded(kind: pa.DataType) -> bool:
    """Whether cells are files: bytes, or a structure of bytes and a path as the Hugging Face library has it."""
    if pa.types.is_struct(kind):
        return "bytes" in kind.names and str(kind.field("bytes").type) in BYTES
    return str(kind) in BYTES


def holds_files(path: Path) -> bool:
    """Whether a Parquet file has a column of encoded files. One that is damaged may have had any."""
    try:
        return any(is_encoded(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError):
        return True


def read_features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What the Hugging Face library wrote of each column; nothing where that cannot be read."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def class_names(schema: pa.Schema, label: str) -> list[str] | None:
    names = read_features(schema).get(label, {}).get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def check_alike(first: pa.Schema, other: pa.Schema, roles: Roles, whats: tuple[str, str]) -> None:
    """Raises `ValueError` where another file of the same data has other columns, types or classes.

    `whats` are the names of the two.
    """
    one, two = whats
    for name in roles[:2]:
        if other.names.count(name) != 1:
            raise ValueError(f"{two} has the columns {', '.join(other.names)}, but {one} has a column {name}")
        kinds = [schema.field(name).type for schema in (first, other)]
        if describe(kinds[0]) != describe(kinds[1]):
            raise ValueError(f"{two}: the column {name} holds {kinds[1]}, but in {one} it holds {kinds[0]}")
    names = class_names(other, roles.label)
    if names and roles.names and names != roles.names:
        raise ValueError(f"{two} has the classes {list_some(names)}, but {one} has {list_some(roles.names)}")


def describe(kind: pa.DataType) -> str:
    """The type, so that it matters no more how many bits numbers have, and how text is stored."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    kinds = {"whole numbers": pa.types.is_integer(kind), "text": str(kind) in TEXT, "files": is_encoded(kind)}
    return next((name for name, is_it in kinds.items() if is_it), str(kind))


def check_classes(labels: Sequence[Any], what: str) -> None:
    """Raises `ValueError` where so many labels differ that they are no classes, but captions or numbers of rows."""
    different = len(set(labels))
    if different > MOST_CLASSES and len(labels) < FEWEST * different:
        told = f"holds {different:,} different labels in {len(labels):,} rows, which are no classes"
        raise ValueError(f"{what} {told}: name another with label_column, or --label-column")
