"""Hyper-parameters that the methods which match feature distributions share."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from attar.data.task import Task
from attar.methods._matching import Matching
from attar.synthesis.optimisers import Optimiser, Schedule
from attar.synthesis.pixels import Init, Pixels, Space


class Retired(NamedTuple):
    """A field of earlier versions."""

    value: Any
    """The one that changes nothing."""
    instead: str


ELSEWHERE = "use --method discrepancy"


@dataclass(frozen=True, kw_only=True)
class Settings(Matching):
    """`ipm` updates share a network. `batch_real` is the number of real images a class, no more than there are.

    They are drawn afresh, or are always its first ones. `keep_real` keeps the batch and its augmentation as long as the
    network, so that their features are computed once. `average` is the decay of a running average of the pixels, which
    is then the result; 0 takes the last pixels.
    """

    updates: int
    lr: float
    momentum: float = 0.5
    optimiser: Optimiser = "sgd"
    schedule: Schedule = "constant"
    average: float = 0.0
    ipm: int = 1
    batch_real: int
    real: Literal["fresh", "first"] = "fresh"
    keep_real: bool = False
    factor: int
    init: Init
    space: Space
    augment: str
    style: Literal["dsa", "idc"]
    costs: ClassVar[tuple[int, int]] = 1, 2  # without a graph; forward and backward to the pixels
    retired: ClassVar[dict[str, Retired]] = {
        "networks": Retired(1, "an update sees one network"),
        "warm": Retired(0, "networks are unlearned"),
        "draw": Retired("class", "each class has an augmentation of its own"),
        "discrepancy": Retired("mean", ELSEWHERE),
        "features": Retired("network", ELSEWHERE),
    }

    def cycle(self, ipc: int) -> int:
        """Updates after which their cost repeats, for a plan."""
        return self.ipm

    def flop_real(self, task: Task, syn: Pixels) -> int:
        looks = self.batch(task) / (self.ipm if self.keep_real else 1)
        return int(self.updates * len(syn.classes) * looks * task.network.flop(task.shape))
