"""What all audits have in common. Another audit is one file beside this one: docs/extending.md has one to begin with.

Its work is functions of a module. What they return is kept: an audit resumes after a kill, and a second call finds it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from attar.arguments import read
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Examples, Task
from attar.engine.compiling import Compile
from attar.engine.piece import Piece, Tick
from attar.engine.precision import Precision
from attar.engine.run import Run
from attar.engine.staging import Part, write_part
from attar.evaluation.audits.intervals import Interval
from attar.evaluation.audits.measures import AUDITED, Measure
from attar.evaluation.jobs import variant
from attar.files import DamagedFile, has_own_checksum, read_json, with_checksum, write_json
from attar.rng import CPU, Rng
from attar.training.pretrained import suited
from attar.training.protocol import PROTOCOLS, Protocol

WHOLE = "whole20"  # the protocol of networks that are trained on the whole set
VERSION = 1  # of how audits measure: what another found is not taken
Found = dict[str, Any]
Role = Literal["set", "random", "whole"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is audited: a set, or a control beside it."""

    made: CondensedSet
    role: Role
    folder: Path
    """Where what is made for it is kept."""
    train: Part
    """Network-ready images and labels in a file, and their hash."""

    @property
    def name(self) -> str:
        return self.made.provenance.get("method", "given")

    def piece(
        self,
        bench: "Bench",
        name: str,
        work: Callable[[Tick], Found],
        *,
        recipe: Sequence[Any],
        seed: int,
        cost: int,
        steps: int = 1,
    ) -> Piece:
        """A piece of work whose result is kept as JSON: what `work(tick)` returns."""
        engine = bench.precision, bench.device.type, torch.__version__
        told = repr((VERSION, name, tuple(recipe), engine, self.train.hash, self.made.normalisation.identity))
        path = self.folder / f"{digest((told, seed))}.json"
        called = f"{name} of {self.name}, draw {self.made.provenance.get('seed', 0)}"
        return Piece(
            told, called, seed, self.folder, partial(keep_found, path, work), partial(read_found, path), cost, steps
        )

    def measure(self, audit: str, name: str, value: float | Interval | None, unit: str = "", **about: Any) -> Measure:
        """A row about this set. `about` are further fields of `Measure`."""
        low, high = (value.low, value.high) if isinstance(value, Interval) else (None, None)
        middle = value.value if isinstance(value, Interval) else value
        facts: dict[str, Any] = {"method": self.name, "draw": self.made.provenance.get("seed", 0), "ipc": self.made.ipc}
        facts |= {"variant": variant(self.made), "set_images": len(self.made.labels)}
        return Measure(audit, name, middle, low, high, unit, **(facts | about))


@dataclass(frozen=True, eq=False)
class Bench:
    """What all audits of a call share."""

    task: Task
    protocol: Protocol
    seeds: tuple[int, ...]
    passing: Path
    """A folder that goes with the call."""
    condense: Callable[[CondensedSet, Task, int], CondensedSet]
    """Other data, condensed as a set was, with a seed."""
    precision: Precision = "fp32"
    compile: Compile = "auto"
    device: torch.device = CPU
    kept: dict[str, Any] = field(default_factory=dict)
    """What audits make once for the call."""

    def run(self, precision: Precision | None = None) -> Run:
        """On the call's engine. Audits draw by random numbers of their own, not by a run's."""
        return Run(Rng.of(0), device=self.device, precision=precision or self.precision, compile=self.compile)

    def seeds_of(self, subject: Subject) -> tuple[int, ...]:
        """Of its networks: one for the whole set, whose training takes long."""
        return self.seeds[:1] if subject.role == "whole" else self.seeds

    def protocol_of(self, subject: Subject) -> Protocol:
        """How its networks are trained: on the whole set for 20 epochs."""
        protocol = PROTOCOLS[WHOLE] if subject.role == "whole" else self.protocol
        return suited(self.task, protocol)

    def note_of(self, subject: Subject, remark: str = "") -> str:
        """What a reader is told of its networks, which are hardened as the `remark` says."""
        return f"one network, trained by {WHOLE}{remark}" if subject.role == "whole" else ""

    def test(self, count: int) -> Part:
        """That many test images and labels in a file, the same at every call; fewer are the first of more."""
        return self._some("test", self.task.test, count)

    def sample(self, count: int, name: str = "train") -> Part:
        """The same of training images. Under another name they are others, but for what both happen to hold."""
        return self._some(name, self.task.train, count)

    def _some(self, name: str, examples: Examples, count: int) -> Part:
        if (called := f"{name}-{count}") not in self.kept:
            rows = torch.randperm(len(examples.y), generator=Rng(("audit", name)).generator())[:count]
            images, labels = examples.x[rows.to(examples.x.device)].cpu(), examples.y.cpu()[rows]
            self.kept[called] = write_part(self.passing / f"real-{called}.safetensors", x=images, y=labels)
        return self.kept[called]


@dataclass(frozen=True)
class Audit:
    """One question about a set. Its fields are its settings."""

    name: ClassVar[str]

    # Run-time checks of types, where one has switched them on, would come before the sentences of `read`.
    __no_type_check__ = True

    def __post_init__(self) -> None:
        """Raises `ValueError` for settings of another type than theirs."""
        for part in fields(self):
            object.__setattr__(self, part.name, read(part.name, getattr(self, part.name), part.type))

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        """Raises `ValueError`, before any work, where it cannot be done."""

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        """The networks that it needs, trained before its own pieces are done."""
        return []

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        """What it measures of this subject."""
        raise NotImplementedError

    def measures(self, found: Mapping[Subject, Sequence[Any]], bench: Bench) -> list[Measure]:
        """The rows, from what the pieces of each subject made."""
        raise NotImplementedError


def check_protocol(protocol: Protocol) -> None:
    """Raises `ValueError` for one by which controls cannot be trained."""
    if not protocol.images_alone:
        told = f"the protocol {protocol.name} takes what was learned besides images, which real images do not have"
        raise ValueError(f"{told}: controls can be trained by one that takes images alone, such as dm")


def make_subject(made: CondensedSet, role: Role, home: Path, passing: Path) -> Subject:
    """The set, whose images and labels are written to the folder `passing`. What is kept lies in `home`/audit."""
    images, labels = made.as_dataset().tensors
    count = len(list(passing.glob("train-*.safetensors")))
    return Subject(made, role, home / AUDITED, write_part(passing / f"train-{count}.safetensors", x=images, y=labels))


def draw_control(made: CondensedSet, task: Task, rng: Rng) -> CondensedSet:
    """As many random real images of each class as the set stores."""
    counts = made.labels.bincount(minlength=len(task.classes))
    rows = task.indices(range(len(task.classes)), int(counts.max()), rng)
    chosen = torch.cat([row[:count] for row, count in zip(rows, counts.tolist(), strict=True)])
    found = CondensedSet.selected(task, chosen)
    found.provenance.update(method="random", seed=0, ipc=made.ipc, hyperparameters={}, fingerprint=task.fingerprint)
    return found


def digest(what: Any) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()


def keep_found(path: Path, work: Callable[[Tick], Found], tick: Tick) -> Found:
    """What the work finds, written down: that completes its piece."""
    found = work(tick)
    write_json(path, with_checksum({"found": found}))
    return found


def read_found(path: Path) -> Found | None:
    """`None` where it is not there, or damaged: it is found anew then."""
    try:
        content = read_json(path) if path.exists() else None
    except DamagedFile:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("found"), dict) or not has_own_checksum(content):
        return None
    return content["found"]
