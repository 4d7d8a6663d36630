"""Hyper-parameters that the methods which match gradients share."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.methods._matching import Matching
from attar.networks.weights import TRAINING
from attar.synthesis.optimisers import Optimiser, Schedule
from attar.synthesis.pixels import Init, Space

SECOND_ORDER = 9  # the distance of a gradient and its own gradient in the images, in forward passes


@dataclass(frozen=True, kw_only=True)
class Settings(Matching):
    """`batch_real` is the number of real images a class, no more than there are; they are drawn afresh.

    Between two updates networks learn in batches of `batch_train`. `average` is the decay of a running average of the
    pixels, which is then the result; 0 takes the last pixels.
    """

    updates: int
    lr: float
    momentum: float = 0.5
    optimiser: Optimiser = "sgd"
    schedule: Schedule = "constant"
    average: float = 0.0
    batch_train: int
    batch_real: int
    factor: int
    init: Init
    space: Space
    augment: str
    style: Literal["dsa", "idc"]
    costs: ClassVar[tuple[int, int]] = TRAINING, SECOND_ORDER
