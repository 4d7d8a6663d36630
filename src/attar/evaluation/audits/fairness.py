"""Fair: whether a network that was trained on a condensed set is right as often for one group as for another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.device import use_device
from attar.engine.piece import Piece, Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.staging import Part, write_part
from attar.evaluation.audits.frame import Audit, Bench, Found, Subject
from attar.evaluation.audits.intervals import Interval, mean_interval
from attar.evaluation.audits.measures import Measure
from attar.evaluation.audits.trained import Trained, list_trained, read_network, train_pieces
from attar.files import read_tensors
from attar.rng import Rng
from attar.training.fit import predict

DRAWS = 2000  # fair classifiers that are simulated for a floor
GAPS = "DEO max", "DEO mean", "class gap"  # which condensing may amplify
POINTS = (*GAPS, "class deviation")


@dataclass(frozen=True)
class Fair(Audit):
    """Accuracies of all groups of test images, in each class. The groups are those of the data."""

    name: ClassVar[str] = "fair"

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        """Raises `ValueError` where there are no groups, or no test image of a class is in one of them."""
        check_groups(bench.task)

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        return train_pieces(subject, bench)

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        test, sizes = write_test(bench), (len(bench.task.classes), len(bench.task.groups))
        run = bench.run()
        flop, pieces = bench.task.network.flop(bench.task.shape), []
        for trained in list_trained(subject, bench):
            work = partial(answer, trained, test, sizes, run)
            recipe, cost = (test.hash, trained.path.name, sizes), len(bench.task.test.y) * flop
            pieces.append(subject.piece(bench, "groups", work, recipe=recipe, seed=trained.seed, cost=cost))
        return pieces

    def measures(self, found: Mapping[Subject, Sequence[Any]], bench: Bench) -> list[Measure]:
        count = torch.tensor(count_test(bench.task))
        cells = {s: Cells(torch.tensor([one["right"] for one in own]).double(), count) for s, own in found.items()}
        whole = next(measure(own) for subject, own in cells.items() if subject.role == "whole")
        return [one for subject, own in cells.items() for one in self.tell(subject, own, whole, bench)]

    def tell(self, subject: Subject, cells: "Cells", whole: dict[str, Tensor], bench: Bench) -> list[Measure]:
        """The rows of one subject, with those of the `whole` set to compare with."""
        values, floor = measure(cells), simulate_fair(cells, Rng(("audit", "fair")))
        own: dict[str, Interval | float] = {name: over_networks(each) for name, each in values.items()}
        fair = {name: spread(each) for name, each in floor.items()}
        own |= {f"{name} of a fair classifier": interval for name, interval in fair.items()}
        if subject.role != "whole":
            own |= {f"{name}, beyond the whole set": over_networks(values[name] - whole[name].mean()) for name in GAPS}
        about: dict[str, Any] = {"trained": bench.protocol.name, "network": bench.task.network.name}
        about |= {"networks": len(cells.right), "tested": int(cells.images.sum())}
        notes = [bench.note_of(subject)] if subject.role == "whole" else []
        if values["DEO max"].mean() <= fair["DEO max"].high:
            notes.append("DEO max is no more than sampling alone gives a fair classifier")
        about["note"] = "; ".join(notes)
        units = {name: "points" if name.startswith(POINTS) else "%" for name in own}
        return [subject.measure(self.name, name, value, units[name], **about) for name, value in own.items()]


def check_groups(task: Task) -> None:
    """Raises `ValueError` where there are no groups, or no test image of a class is in one of them."""
    if task.test.group is None:
        told = f"{task.name} has no groups to compare"
        raise ValueError(f"{told}: name a column, or give labels of groups, as group of attar.load_data or --fair")
    for name, counts in zip(task.classes, count_test(task), strict=True):
        if 0 in counts:
            lacking = task.groups[counts.index(0)]
            raise ValueError(
                f"class {name!r} has no test {task.called} of the group {lacking!r}, to compare with others"
            )


def count_test(task: Task) -> list[list[int]]:
    """Test images by class and group."""
    assert task.test.group is not None
    cell = task.test.y * len(task.groups) + task.test.group
    return cell.bincount(minlength=len(task.classes) * len(task.groups)).view(-1, len(task.groups)).tolist()


def write_test(bench: Bench) -> Part:
    """All test images in a file, with the number of their class and group instead of a label."""
    if "fair" not in bench.kept:
        test = bench.task.test
        assert test.group is not None
        cell = test.y * len(bench.task.groups) + test.group
        bench.kept["fair"] = write_part(bench.passing / "groups.safetensors", x=test.x, y=cell)
    return bench.kept["fair"]


def answer(trained: Trained, test: Part, sizes: tuple[int, int], run: Run, tick: Tick) -> Found:
    """How many answers of a network are right, by class and group."""
    tensors, groups = read_tensors(test.path)[0], sizes[1]

    def look(part: slice) -> Tensor:
        return trained.normalisation.to_network(unit(tensors["x"][part].to(run.device)))

    y, group = tensors["y"] // groups, tensors["y"] % groups
    with use_precision(run.precision), use_device(run.device):
        found = predict(trained.network, [read_network(trained, run.device)], look, len(y), run)
    tick()
    return {"right": count_cells(found.cpu() == y, y, group, *sizes).right[0].long().tolist()}


def over_networks(values: Float[Tensor, " networks"]) -> Interval | float:
    """The mean, with an interval where there are several networks. Test images are the same for all."""
    if len(values) == 1:
        return values.item()
    return mean_interval(values.tolist(), Rng(("audit", "fair", "networks")))


def spread(values: Float[Tensor, "*draws"]) -> Interval:
    """The mean, and between what 95 % of the values lie."""
    low, high = values.flatten().quantile(values.new_tensor([0.025, 0.975])).tolist()
    return Interval(values.mean().item(), low, high)


class Cells(NamedTuple):
    """Right answers by class and group, the groups of a class side by side."""

    right: Float[Tensor, "*networks classes groups"]
    images: Int[Tensor, "classes groups"]

    @property
    def accuracy(self) -> Float[Tensor, "*networks classes groups"]:
        """acc(y, a), in per cent."""
        return 100 * self.right / self.images

    @property
    def by_class(self) -> Float[Tensor, "*networks classes"]:
        """The accuracy of each class over all its images, in per cent."""
        return 100 * self.right.sum(-1) / self.images.sum(-1)


def count_cells(
    right: Bool[Tensor, "networks n"], y: Int[Tensor, " n"], group: Int[Tensor, " n"], classes: int, groups: int
) -> Cells:
    """How many answers are right for each class and group, as each of the networks answers."""
    cell = y * groups + group
    table = torch.nn.functional.one_hot(cell, classes * groups).double()
    counts = table.sum(0).long().view(classes, groups)
    return Cells((right.double() @ table).view(len(right), classes, groups), counts)


def gaps(accuracy: Float[Tensor, "*networks classes groups"]) -> Float[Tensor, "*networks classes"]:
    """max_a acc(y, a) − min_a acc(y, a) of each class y: 0 where all groups are served alike."""
    return accuracy.amax(-1) - accuracy.amin(-1)


def measure(cells: Cells) -> dict[str, Float[Tensor, "*networks"]]:
    """What is measured of each network, by name; in per cent, or in points.

    DEO compares true positives alone, as the code of FairDD (NeurIPS 2025) does: its maximum and its mean over the
    classes. It is known as equal opportunity too. The rest is of cells and of whole classes.
    """
    gap, by_class = gaps(cells.accuracy), cells.by_class
    return {
        "accuracy": 100 * cells.right.sum((-2, -1)) / cells.images.sum(),
        "DEO max": gap.amax(-1),
        "DEO mean": gap.mean(-1),
        "worst group": cells.accuracy.flatten(-2).amin(-1),
        "worst class": by_class.amin(-1),
        "class gap": by_class.amax(-1) - by_class.amin(-1),
        "class deviation": by_class.std(-1, correction=0),
    }


def simulate_fair(cells: Cells, rng: Rng, draws: int = DRAWS) -> dict[str, Float[Tensor, "networks draws"]]:
    """DEO of classifiers that are perfectly fair, and as accurate in each class as these are, on as many images.

    Each cell then has a binomial number of right answers. What is left of DEO is sampling alone. Take 95 % accuracy,
    ten classes, ten groups and 100 images a cell: then DEO max is 9.5 points and DEO mean 6.6, on average.
    """
    generator = np.random.default_rng(rng.seed)
    chance = (cells.by_class / 100).clamp(0, 1)[..., None].expand(cells.right.shape)
    shape = (draws, *chance.shape)
    right = torch.from_numpy(generator.binomial(cells.images.numpy(), chance.numpy(), shape).astype(np.float64))
    fair = measure(Cells(right, cells.images))
    return {name: fair[name].T for name in ("DEO max", "DEO mean")}
