"""What audits find: a row for each number, and tables of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from attar.evaluation.rows import KINDS, read_list
from attar.files import with_checksum, write_json
from attar.locks import lock_writer
from attar.wording import budget

MEASURES, AUDITED = "audit.json", "audit"  # in the folder of a run: the rows, and the folder of what they come from
GATE = "gate"
TITLES = {  # of the report's sections
    "robust": "Does it keep robustness?",
    "fair": "Does it keep fairness?",
    "private": "Does it keep what is private?",
    "distribution": "How its images are distributed",
    "consistency": "Which loss tells the test loss?",
}
ADVICE = "move it out of the folder, and the audit goes on from what it kept"


@dataclass(frozen=True)
class Measure:
    """One number that an audit found of a set, or of a control beside it."""

    audit: str
    name: str
    """What was measured, such as `accuracy, PGD-20, L∞ 1/255`: a line of the report's table."""
    value: float | None
    """1 or 0 for a gate, which holds or not; `None` where it cannot be said."""
    low: float | None = None
    high: float | None = None
    """Ends of the interval of 95 %; `None` where there is none."""
    unit: str = ""
    """Written behind the number, such as `%`; or `gate`."""
    data: str = ""
    method: str = ""
    """Of the set; controls are called `random` and `whole set`."""
    ipc: int | None = None
    draw: int = 0
    """The seed of the condensation."""
    variant: str = ""
    """A hash of how the set was made, as in rows of an evaluation."""
    set_images: int = 0
    """Stored images of the set."""
    trained: str = ""
    """How its networks were trained, such as `dm` or `dm, PGD-3 at 2/255`; empty where there are none."""
    network: str = ""
    networks: int = 0
    tested: int = 0
    """How many images it was measured on."""
    note: str = ""
    """What a reader should know of it."""

    @property
    def text(self) -> str:
        """The number for a reader, with its interval."""
        if self.value is None:
            return "–"
        if self.unit == GATE:
            return "holds" if self.value else "FAILS"
        ends = "" if self.low is None or self.high is None else f" ({shorten(self.low)} to {shorten(self.high)})"
        return shorten(self.value) + (f" {self.unit}" if self.unit else "") + ends

    @property
    def subject(self) -> str:
        """What was audited."""
        whole = self.method == "whole set"
        return self.method if whole else f"{self.method}, {budget(self.ipc, self.set_images)}"


def shorten(value: float) -> str:
    """A number for a table: one decimal from 10 on, else three digits."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


class AuditTable(NamedTuple):
    """What one audit found: a line for each measure, a column for each set."""

    audit: str
    title: str
    data: str
    trained: str
    subjects: list[str]
    lines: dict[str, list[Measure | None]]
    notes: list[str]


def tabulate_measures(measures: Sequence[Measure]) -> list[AuditTable]:
    """A table for each audit, and for each way in which networks were trained: these are never compared."""
    groups: dict[tuple[str, str, str], list[Measure]] = {}
    for one in measures:
        groups.setdefault((one.audit, one.trained, one.data), []).append(one)
    tables = []
    for (audit, trained, data), group in groups.items():
        columns = {identify_subject(one): name_subject(one, group) for one in group}
        lines: dict[str, dict[tuple, Measure]] = {}
        for one in group:
            lines.setdefault(one.name, {})[identify_subject(one)] = one
        cells = {name: [line.get(key) for key in columns] for name, line in lines.items()}
        notes = list(dict.fromkeys(f"{one.subject}: {one.note}" for one in group if one.note))
        tables.append(AuditTable(audit, TITLES.get(audit, audit), data, trained, list(columns.values()), cells, notes))
    return tables


def identify_subject(one: Measure) -> tuple:
    return one.data, one.method, one.ipc, one.set_images, one.variant, one.draw, one.network


def name_subject(one: Measure, among: Sequence[Measure]) -> str:
    """As short as tells it apart from the others."""
    alike = [other for other in among if other.subject == one.subject]
    varied = [
        f"{word} {getattr(one, word)}"
        for word in ("draw", "network", "variant")
        if len({getattr(other, word) for other in alike}) > 1
    ]
    return ", ".join([one.subject, *varied])


def write_measures(path: Path, measures: Sequence[Measure]) -> None:
    """Add measures to a file; those of an audit of the same set replace all earlier ones of that."""
    with lock_writer(path):
        new = {(*identify_subject(one), one.audit, one.trained) for one in measures}
        earlier = read_measures(path)
        kept = [one for one in earlier if (*identify_subject(one), one.audit, one.trained) not in new]
        held = [asdict(one) for one in dict.fromkeys([*kept, *measures])]  # one set may lie in two folders
        write_json(path, with_checksum({"measures": held}))


def read_measures(path: Path) -> list[Measure]:
    """None where there is no file. Raises `ValueError` where it is damaged, or not Attar's."""
    return read_list(path, "measures", "measures of an audit", ADVICE, read_measure)


def read_measure(entries: dict[str, Any]) -> Measure:
    """Raises `TypeError` where these are no measure's."""
    one = Measure(**entries)
    for part in fields(one):
        if part.type in KINDS and not isinstance(getattr(one, part.name), KINDS[part.type]):
            raise TypeError
    return one
