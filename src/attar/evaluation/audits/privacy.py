"""Private: whether a set tells which images it was condensed from.

The whole pipeline is attacked, as in the protocol of Aerni et al. (CCS 2024): the set's method condenses anew many
times, each time with another half of the canaries, and a network is trained on what it makes. And synthetic images are
compared with the real ones that they were made from, and with others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Examples, Task
from attar.engine.device import eager_flops
from attar.engine.piece import Piece
from attar.engine.staging import write_part
from attar.evaluation.audits.canaries import Canaries, look_at, place_canaries
from attar.evaluation.audits.frame import Audit, Bench, Found, Subject, check_protocol
from attar.evaluation.audits.intervals import Interval, mean_interval
from attar.evaluation.audits.measures import Measure
from attar.evaluation.audits.membership import Members, Scores, advantage, area, catch, check_rate, lira, rmia
from attar.evaluation.audits.nearest import find_nearest, list_rows
from attar.evaluation.audits.trained import list_trained, train_pieces
from attar.evaluation.evaluate import protocol_by_name
from attar.networks.weights import TRAINING
from attar.rng import Rng
from attar.training.pretrained import suited
from attar.training.protocol import Protocol

RNG = Rng(("audit", "private"))
FEWEST = 4  # runs: of those that hold an example, and of those that do not, one is attacked and one is left
Row = tuple[str, Interval | float, str]


@dataclass(frozen=True)
class Private(Audit):
    """Membership inference on the condensation, by LiRA and RMIA, and a table of the nearest real images.

    The set's method condenses `runs` times, with one seed each. Of `images` random training images (0: of all),
    `canaries` are mislabelled, and each is in half of the runs. `rates` are the shares of false positives at which
    true positives are counted. One network a run is trained by `protocol`.
    """

    name: ClassVar[str] = "private"
    runs: int = 32
    canaries: int = 1000
    images: int = 0
    rates: Sequence[float] = (0.01, 0.001)
    protocol: str | Protocol = "quick"

    def __post_init__(self) -> None:
        if isinstance(self.rates, int | float):
            object.__setattr__(self, "rates", [self.rates])
        super().__post_init__()
        object.__setattr__(self, "rates", tuple(self.rates))  # a list has no hash

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        """Raises `ValueError` where there are too few runs or images, or for a rate that they cannot resolve."""
        check_protocol(protocol_by_name(self.protocol))
        for subject in subjects:
            check_pipeline(subject.made, bench.task)
        if self.runs < FEWEST or self.runs % 2:
            told = "every canary is in half of the runs, and one of either kind is left out"
            raise ValueError(f"runs is {self.runs}; expected an even number of at least {FEWEST}, as {told}")
        count = len(bench.task.train.y)
        if not 0 < self.canaries <= self.count(bench) <= count:
            told = f"canaries is {self.canaries} and images {self.count(bench)}"
            raise ValueError(f"{told}; expected canaries among the images, and these among the {count:,} for training")
        for rate in self.rates:
            check_rate(rate, self.runs * self.canaries // 2)
        bench.kept["whole"] = next(subject for subject in subjects if subject.role == "whole")

    def count(self, bench: Bench) -> int:
        return self.images or len(bench.task.train.y)

    def suited(self, bench: Bench) -> Protocol:
        return suited(bench.task, protocol_by_name(self.protocol))

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        return train_pieces(subject, bench) if subject.role == "whole" else []

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        again = self.condense(subject, bench) if is_repeatable(subject, bench.task) else []
        return [self.compare(subject, bench), *again]

    def compare(self, subject: Subject, bench: Bench) -> Piece:
        """The distances of its images to real ones; for the whole set, those of test images to training images."""
        (trained,), task, run = list_trained(bench.kept["whole"], bench), bench.task, bench.run()
        parts = {"training": bench.sample(len(task.train.y)), "test": bench.test(len(task.test.y))}
        if subject.role == "whole":
            images = parts.pop("test")
        else:
            pixels = subject.made.normalisation.to_pixels(subject.made.decoded()).clamp(0, 1)
            place = bench.passing / f"pixels-{subject.train.hash}.safetensors"
            images = write_part(place, x=pixels, y=subject.made.decoded_labels())
        paths = {name: part.path for name, part in parts.items()}
        work = partial(find_nearest, images.path, paths, trained, run)
        told = images.hash, trained.path.name, [part.hash for part in parts.values()]
        cost = sum(map(len, (task.train.y, task.test.y))) * task.network.flop(task.shape)
        return subject.piece(bench, "nearest", work, recipe=told, seed=0, cost=cost, steps=2)

    def condense(self, subject: Subject, bench: Bench) -> Iterator[Piece]:
        """A piece for each run."""
        placed, task, protocol = self.place(bench), bench.task, self.suited(bench)
        bare, n = without_images(task), len(subject.made.decoded_labels())
        network = task.network.key or str(bench.passing)  # one without a key may be another the next time
        sources = [source and source.identity for source in (task.encoder, task.generator)]
        told = placed.hash, protocol, network, *sources, task.flip, sorted(hyperparameters(subject).items())
        training = TRAINING * protocol.length(n) * n * task.network.flop(task.shape)
        cost = training + int(subject.made.provenance.get("seconds", 0) * eager_flops(bench.device))
        for seed, member in enumerate(placed.member):
            work = partial(
                look_at, bench.condense, subject.made, bare, placed.path, member, protocol, seed, bench.run()
            )
            own = (*told, member.tolist())
            yield subject.piece(bench, "canaries", work, recipe=own, seed=seed, cost=cost)

    def place(self, bench: Bench) -> Canaries:
        if "canaries" not in bench.kept:
            path = bench.passing / "canaries.safetensors"
            counts = self.count(bench), self.canaries, self.runs
            bench.kept["canaries"] = place_canaries(bench.task, *counts, RNG, path)
        return bench.kept["canaries"]

    def measures(self, found: Mapping[Subject, Sequence[Found]], bench: Bench) -> list[Measure]:
        held = found[bench.kept["whole"]][0]
        about: dict[str, Any] = {"network": bench.task.network.name, "trained": self.suited(bench).name}
        real = len(bench.task.train.y), len(bench.task.test.y)
        chance, measures = 100 * real[0] / sum(real), []
        for subject, (near, *runs) in found.items():
            if subject.role != "whole":
                rows = [*self.attack(runs, bench), *list_rows(near, held, chance)]
                measures += [subject.measure(self.name, *row, **about, networks=len(runs)) for row in rows]
        return measures

    def attack(self, runs: Sequence[Found], bench: Bench) -> Iterator[Row]:
        """What attacks on all runs find; nothing where there are none."""
        if not runs:
            return
        phi, z = (torch.tensor([run[name] for run in runs], dtype=torch.float64) for name in ("canaries", "population"))
        member = self.place(bench).member
        for attack, scores in (("LiRA", lira(phi, member)), ("RMIA", rmia(phi, member, z))):
            yield from tell(attack, scores, member, self.rates)
        yield "accuracy of the attacked networks", mean_interval([run["accuracy"] for run in runs], RNG), "%"


def tell(attack: str, scores: Scores, member: Members, rates: Sequence[float]) -> Iterator[Row]:
    for rate in rates:
        caught, at = catch(scores, member, rate), f"at {100 * rate:g} % false positives, {attack}"
        yield f"true positives {at}", Interval(*(100 * end for end in caught.true_positives)), "%"
        yield f"ε at least, {at}", caught.epsilon, ""
    yield f"area under the ROC curve, {attack}", area(scores, member), ""
    yield f"advantage, {attack}", 100 * advantage(scores, member), "points"


def check_pipeline(made: CondensedSet, task: Task) -> None:
    """Raises `ValueError` where the set was condensed with another network, or other mirroring, than is attacked."""
    about = made.provenance
    if about.get("network", task.network.name) != task.network.name:
        told = f"a set was condensed with the network {about['network']}, and {task.network.name} would be attacked"
        raise ValueError(f"{told}: say network={about['network']}")
    if about.get("flip", task.flip) != task.flip:
        told = f"a set was condensed with flip={about['flip']}, and flip={task.flip} would be attacked"
        raise ValueError(f"{told}: say flip={about['flip']}")


def is_repeatable(subject: Subject, task: Task) -> bool:
    """Whether the set says by what method it was made, with which values; and how many images a control is to have.

    Codes of a generator are learned again only where that generator is at hand.
    """
    made, about = subject.made, subject.made.provenance
    if "hyperparameters" not in about or subject.role == "whole":
        return False
    if about.get("generator", task.generator_identity) != task.generator_identity:
        return False
    return subject.role != "random" or made.ipc is not None


def hyperparameters(subject: Subject) -> dict[str, object]:
    about = subject.made.provenance
    return {"method": about["method"], "ipc": subject.made.ipc, **about["hyperparameters"]}


def without_images(task: Task) -> Task:
    """The same data with an empty training and test part, to be sent to other processes."""
    none = Examples(task.train.x[:0].cpu(), task.train.y[:0].cpu())
    return replace(task, train=none, test=none)
