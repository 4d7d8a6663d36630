"""What an evaluation returns, and the arithmetic on it."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from attar.files import DamagedFile, has_own_checksum, read_json, with_checksum, write_json
from attar.locks import lock_writer
from attar.wording import duration, size

# In the folder of a run or a comparison. The picture is of the rows, where several networks judged.
ROWS, PICTURE, REPORT = "rows.json", "networks.png", "report.html"
# What a field of each type may hold: a whole number is an accuracy too.
KINDS: dict[Any, Any] = {str: str, int: int, bool: bool, bool | None: bool | None}
KINDS |= {int | None: int | None, float: int | float, float | None: int | float | None}
ADVICE = "move it out of the folder, and its networks are trained anew"
T = TypeVar("T")
COLUMNS = ("data", "ipc", "method", "protocol", "network", "accuracy", "gain", "networks", "stored", "condensed in")


@dataclass(frozen=True)
class Row:
    """One network trained on one set: its accuracy on the test part after the last epoch, in per cent."""

    data: str
    method: str
    ipc: int | None
    """Stored images of a class; `None` where the method found their number, which then is `images`.

    Where a `generator` was judged, the images of a class by which the protocol counts an epoch.
    """
    draw: int
    """The seed of the condensation."""
    variant: str
    """A hash of the method's settings, network, data and precision: sets made differently are never averaged."""
    protocol: str
    network: str
    seed: int
    """The seed of the network and of its training."""
    accuracy: float
    per_class: tuple[float | None, ...]
    """`None` where the test part has no image of the class."""
    epochs: int
    bytes: int
    """Of the images trained on, as stored floats or as decoded 8-bit ones, and of what else of the set was used."""
    eight_bit: bool
    precision: str
    """Of the network's training: fp32, tf32 or bf16."""
    split: str
    condense_seconds: float | None
    train_seconds: float
    # With defaults, as the files of other versions may lack what follows.
    soft: bool = False
    """Trained on the set's soft labels."""
    key: str = ""
    """A hash of all that the accuracy depends on; empty where that is not known."""
    flip: bool | None = None
    """Whether augmentation may mirror images; `None` for tables, and in rows that older versions wrote."""
    measures: dict[str, float] = field(default_factory=dict, hash=False)  # a dict has no hash
    """Further measures of the same network by name, such as its accuracy under an attack."""
    fingerprint: str = ""
    """Of the training data that the set was made from, or else of the data that it was judged on."""
    tested: str = ""
    """A hash of the test part."""
    images: int = 0
    """Stored images of all classes; 0 in rows that older versions wrote."""
    whitening: str = ""
    """`ZCA` where the network saw whitened images."""
    generator: bool = False
    """Whether what was made is a generator, whose bytes these are, and no images."""
    step_size: float | None = None
    """That learned with the set, where the network was trained with it."""
    learned_steps: int = 0
    """Those learned with the set, where the network was trained by them, in their order and by their sizes."""
    targets: bool = False
    """Trained on the set's learned targets."""

    @property
    def remark(self) -> str:
        """What the network was trained on and how, where that is not the exact floats with hard labels alone."""
        known = {"8 bit": self.eight_bit, "soft labels": self.soft, "learned targets": self.targets}
        known[self.whitening] = bool(self.whitening)
        known[f"{self.learned_steps} learned steps"] = self.learned_steps > 0
        known["learned step size"] = self.step_size is not None  # without the number, which draws differ in
        unusual = [name for name, holds in known.items() if holds]
        return f" ({', '.join(unusual)})" if unusual else ""


@dataclass(frozen=True)
class Summary:
    """Rows of one cell: same data, method and settings, budget, protocol, network and precision."""

    rows: tuple[Row, ...]
    random: float | None
    """Mean accuracy of random selection in the same circumstances."""
    data: str
    """The data's name, with a mark after it where other data among the rows has the same name."""

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def mean(self) -> float:
        return statistics.fmean(row.accuracy for row in self.rows)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over networks and draws; `None` for a single row, which has no spread."""
        return statistics.stdev(row.accuracy for row in self.rows) if len(self.rows) > 1 else None

    @property
    def accuracy(self) -> str:
        """Mean and spread for a reader."""
        return f"{self.mean:.1f} ± " + ("–" if self.std is None else f"{self.std:.1f}")

    @property
    def measures(self) -> dict[str, float]:
        """The means of the further measures that all rows have."""
        names = [name for name in self.first.measures if all(name in row.measures for row in self.rows)]
        return {name: statistics.fmean(row.measures[name] for row in self.rows) for name in names}

    @property
    def gain(self) -> float | None:
        """Points over random selection; `None` where that was not judged, or is what was."""
        return None if self.random is None or self.first.method == "random" else self.mean - self.random

    @property
    def per_class(self) -> list[float | None]:
        by_class = zip(*(row.per_class for row in self.rows), strict=True)
        known = [[accuracy for accuracy in own if accuracy is not None] for own in by_class]
        return [statistics.fmean(own) if own else None for own in known]

    @property
    def condense_seconds(self) -> float | None:
        """Mean over the draws."""
        # By draw: its seconds are in the rows of all its networks.
        seconds = {row.draw: row.condense_seconds for row in self.rows if row.condense_seconds is not None}
        return statistics.fmean(seconds.values()) if seconds else None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `COLUMNS`."""
        row, seconds = self.first, self.condense_seconds
        draws, each = len({r.draw for r in self.rows}), f"{row.images:,} in all" if row.ipc is None else str(row.ipc)
        return (
            self.data,
            f"generator ({each})" if row.generator else each,
            row.method + row.remark,
            row.protocol,
            row.network,
            self.accuracy,
            "" if self.gain is None else f"{self.gain:+.1f}",
            f"{len(self.rows)}" + (f" ({draws} draws)" if draws > 1 else ""),
            size(row.bytes),
            "" if seconds is None else duration(seconds),
        )


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary a cell, in the order of first appearance."""
    cells: dict[tuple, list[Row]] = {}
    for row in {
        identity(row): row for row in complete(rows)
    }.values():  # a row may lie in a run's file and a comparison's
        cells.setdefault((*circumstances(row), row.method, row.variant), []).append(row)
    randoms = {
        circumstances(group[0]): statistics.fmean(row.accuracy for row in group)
        for group in cells.values()
        if group[0].method == "random"
    }
    names = name_data([group[0] for group in cells.values()])
    return [
        Summary(tuple(group), randoms.get(circumstances(group[0])), name)
        for group, name in zip(cells.values(), names, strict=True)
    ]


def list_columns(cells: Sequence[Summary]) -> list[str]:
    """Those of `COLUMNS` that tell cells apart: the network only where there are several."""
    several = len({cell.first.network for cell in cells}) > 1
    return [name for name in COLUMNS if several or name != "network"]


def complete(rows: Sequence[Row]) -> list[Row]:
    """Rows of older versions lack hashes of their data: those of rows that name the same data, where these agree."""
    return fill_in(fill_in(rows, "fingerprint", "data"), "tested", "data", "split")


def fill_in(rows: Sequence[Row], name: str, *alike: str) -> list[Row]:
    """The rows, with the hash `name` that all others have who agree in the entries `alike`."""
    keys = [tuple(getattr(row, other) for other in alike) for row in rows]
    known: dict[tuple, set[str]] = {key: set() for key in keys}
    for key, row in zip(keys, rows, strict=True):
        known[key] |= {getattr(row, name)} - {""}
    only = {key: hashes.pop() for key, hashes in known.items() if len(hashes) == 1}
    hashes = [getattr(row, name) or only.get(key, "") for key, row in zip(keys, rows, strict=True)]
    changes: list[dict[str, Any]] = [{name: own} for own in hashes]
    return [replace(row, **change) for row, change in zip(rows, changes, strict=True)]


def name_data(rows: Sequence[Row]) -> list[str]:
    """The name of each row's data; where several have one name, with the beginnings of the hashes in which they differ.

    Such as `arrays #3f2a01` beside `arrays #77b0c4`.
    """
    names = []
    for row in rows:
        others = [other for other in rows if other.data == row.data]
        varied = [name for name in ("fingerprint", "tested") if len({getattr(other, name) for other in others}) > 1]
        mark = "/".join(getattr(row, name)[:6] for name in varied if getattr(row, name))
        names.append(f"{row.data} #{mark}" if mark else row.data)
    return names


def explain_marks(cells: Sequence[Summary]) -> str:
    """A sentence for a reader of these cells; empty where their data has no marks."""
    marked = sorted({cell.data for cell in cells if cell.data != cell.first.data})
    if not marked:
        return ""
    return f"{' and '.join(marked)}: other images under the same name; the mark is the beginning of their hash"


def circumstances(row: Row) -> tuple:
    """What rows must have in common to be compared, such as with random selection."""
    same = row.fingerprint or row.data, row.tested or row.split  # the same data may have been given under two names
    made = *same, row.ipc, row.generator
    return *made, row.protocol, row.network, row.eight_bit, row.soft, row.whitening, row.precision, row.flip


def identity(row: Row) -> tuple:
    return *circumstances(row), row.method, row.variant, row.draw, row.seed


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a file; a row of the same circumstances, method, draw and seed replaces its earlier self."""
    with lock_writer(path):  # or rows that another process adds in between would be lost
        rows = [*read_rows(path), *rows]
        kept = dict(zip(map(identity, complete(rows)), rows, strict=True))
        write_json(path, with_checksum({"rows": [without_nan(asdict(row)) for row in kept.values()]}))


def read_rows(path: Path) -> list[Row]:
    """None where there is no file. Raises `ValueError` where it is damaged, or not Attar's."""
    # Older versions wrote the list alone.
    return read_list(path, "rows", "rows of an evaluation", ADVICE, read_row, alone=True)


def read_list(
    path: Path, name: str, what: str, advice: str, read: Callable[[Any], T], *, alone: bool = False
) -> list[T]:
    """What a file with a checksum lists under this name; nothing where there is no file.

    `alone` takes a file of the list alone too, without a checksum. Raises `ValueError` where the file is damaged, with
    the advice, and where it holds something else than `what`.
    """
    if not path.exists():
        return []
    try:
        content = read_json(path)
    except DamagedFile as error:
        raise DamagedFile(f"{error}; {advice}") from None
    checked = isinstance(content, dict)
    held = content.get(name) if checked else content if alone else None
    if not isinstance(held, list):
        raise ValueError(f"{path} does not hold {what}")
    if checked and not has_own_checksum(content):
        raise DamagedFile(f"{path} is damaged: its {name} do not match its checksum; {advice}")
    try:
        return [read(entries) for entries in held]
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} does not hold {what}") from None


def read_row(entries: dict[str, Any]) -> Row:
    """Raises `TypeError`, `KeyError` or `AttributeError` where these are no row's."""
    known = without_nan(entries)
    row = Row(**{**known, "per_class": tuple(known["per_class"])})
    parts = [(getattr(row, part.name), part.type) for part in fields(row)]
    parts += [(value, float | None) for value in (*row.per_class, *row.measures.values())]
    if not all(isinstance(value, KINDS[kind]) for value, kind in parts if kind in KINDS):
        raise TypeError
    return row


def without_nan(entries: dict[str, Any]) -> dict[str, Any]:
    """A row's entries, of which JSON has none for what is no finite number; measures that are none are left out."""
    measures = {name: value for name, value in entries.get("measures", {}).items() if finite(value) is not None}
    finite_ones = {name: finite(value) for name, value in entries.items()}
    return finite_ones | {"per_class": list(map(finite, entries["per_class"])), "measures": measures}


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
