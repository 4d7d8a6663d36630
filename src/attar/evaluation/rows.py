"""What an evaluation returns, and the arithmetic on it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attar.files import lock_writer, read_json, write_json
from attar.wording import duration, size

ROWS, REPORT = "rows.json", "report.html"  # in the folder of a run or a comparison
COLUMNS = ("data", "ipc", "method", "protocol", "accuracy", "gain", "networks", "stored", "condensed in")


@dataclass(frozen=True)
class Row:
    """One network trained on one set: its accuracy on the test part after the last epoch, in per cent."""

    data: str
    method: str
    ipc: int
    draw: int
    """The seed of the condensation."""
    variant: str
    """A hash of the method's settings, network, data and precision: sets made differently are never averaged."""
    protocol: str
    network: str
    seed: int
    """The seed of the network and of its training."""
    accuracy: float
    per_class: tuple[float, ...]
    epochs: int
    bytes: int
    """What the trained-on images take: floats as stored, or decoded 8-bit ones."""
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
    """Whether augmentation may mirror images; `None` in rows that older versions wrote."""
    measures: dict[str, float] = field(default_factory=dict, hash=False)  # a dict has no hash
    """Further measures of the same network by name, such as its accuracy under an attack."""

    @property
    def remark(self) -> str:
        """What the network was trained on, where that is not the exact floats with hard labels."""
        unusual = [name for name, holds in (("8 bit", self.eight_bit), ("soft labels", self.soft)) if holds]
        return f" ({', '.join(unusual)})" if unusual else ""


@dataclass(frozen=True)
class Summary:
    """Rows of one cell: same data, method and settings, budget, protocol, network and precision."""

    rows: tuple[Row, ...]
    random: float | None
    """Mean accuracy of random selection in the same circumstances."""

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def mean(self) -> float:
        return statistics.fmean(row.accuracy for row in self.rows)

    @property
    def std(self) -> float:
        """Sample standard deviation over networks and draws; 0 for a single row."""
        return statistics.stdev(row.accuracy for row in self.rows) if len(self.rows) > 1 else 0.0

    @property
    def measures(self) -> dict[str, float]:
        """The means of the further measures that all rows have."""
        names = [name for name in self.first.measures if all(name in row.measures for row in self.rows)]
        return {name: statistics.fmean(row.measures[name] for row in self.rows) for name in names}

    @property
    def gain(self) -> float | None:
        """Points over random selection."""
        return None if self.random is None else self.mean - self.random

    @property
    def per_class(self) -> list[float]:
        return [statistics.fmean(values) for values in zip(*(row.per_class for row in self.rows), strict=True)]

    @property
    def condense_seconds(self) -> float | None:
        """Mean over the draws."""
        # By draw: its seconds are in the rows of all its networks.
        seconds = {row.draw: row.condense_seconds for row in self.rows if row.condense_seconds is not None}
        return statistics.fmean(seconds.values()) if seconds else None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `COLUMNS`."""
        row, seconds = self.first, self.condense_seconds
        draws = len({r.draw for r in self.rows})
        return (
            row.data,
            str(row.ipc),
            row.method + row.remark,
            row.protocol,
            f"{self.mean:.1f} ± {self.std:.1f}",
            "" if self.gain is None or row.method == "random" else f"{self.gain:+.1f}",
            f"{len(self.rows)}" + (f" ({draws} draws)" if draws > 1 else ""),
            size(row.bytes),
            "" if seconds is None else duration(seconds),
        )


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary a cell, in the order of first appearance."""
    cells: dict[tuple, list[Row]] = {}
    for row in {identity(row): row for row in rows}.values():  # a row may lie in a run's file and a comparison's
        cells.setdefault((*circumstances(row), row.method, row.variant), []).append(row)
    randoms = {
        circumstances(group[0]): Summary(tuple(group), None).mean
        for group in cells.values()
        if group[0].method == "random"
    }
    return [Summary(tuple(group), randoms.get(circumstances(group[0]))) for group in cells.values()]


def circumstances(row: Row) -> tuple:
    """What rows must have in common to be compared, such as with random selection."""
    return row.data, row.ipc, row.protocol, row.network, row.eight_bit, row.soft, row.precision, row.flip


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a file; a row of the same circumstances, method, draw and seed replaces its earlier self."""
    with lock_writer(path):  # or rows that another process adds in between would be lost
        kept = {identity(row): row for row in [*read_rows(path), *rows]}
        write_json(path, [asdict(row) for row in kept.values()])


def identity(row: Row) -> tuple:
    return *circumstances(row), row.method, row.variant, row.draw, row.seed


def read_rows(path: Path) -> list[Row]:
    """None where there is no file. Raises `ValueError` where it is damaged, or not Attar's."""
    if not path.exists():
        return []
    try:
        return [Row(**{**row, "per_class": tuple(row["per_class"])}) for row in read_json(path)]
    except (TypeError, KeyError):
        raise ValueError(f"{path} does not hold rows of an evaluation") from None
