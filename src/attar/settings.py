"""Hyper-parameters that the methods which match feature distributions share."""

from dataclasses import dataclass
from typing import Literal

from attar.steps import Optimiser, Schedule, once_per_class
from attar.synthetic import Init, Space

Distance = Literal[
    "mean", "moments", "polynomial", "gaussian", "laplacian", "multiquadric", "energy", "sliced", "sinkhorn", "characteristic"
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`discrepancy` says how far two batches are apart, `features` whether in a network's last layer or in the pixels themselves.
    `ipm` updates share `networks` networks, each first trained for `warm` steps on real images. `batch_real` is a class's, drawn
    afresh or always its first images; `keep_real` keeps the batch and its augmentation as long as the networks, so that their
    features are computed once. `draw` says whether a class has its own augmentation or all share one. `average` is the decay
    of a running average of the pixels, which is then the result; 0 takes the last pixels.
    """

    updates: int
    lr: float
    momentum: float = 0.5
    optimiser: Optimiser = "sgd"
    schedule: Schedule = "constant"
    average: float = 0.0
    discrepancy: Distance = "mean"
    features: Literal["network", "pixels"] = "network"
    ipm: int = 1
    networks: int = 1
    warm: int = 0
    batch_real: int
    real: Literal["fresh", "first"] = "fresh"
    keep_real: bool = False
    factor: int
    init: Init
    space: Space
    augment: str
    style: Literal["dsa", "idc"]
    draw: Literal["class", "shared"] = "class"

    def step_per_class(self, classes: int, scale: int = 1) -> tuple[float, float]:
        """Step size and momentum of one update, for a paper that steps once a class on a tensor that holds all classes.

        `scale` multiplies the step of sgd. Those of the other optimisers do not depend on how large a gradient is; where theirs is
        zero for all classes but one, so that one in `classes` steps moves an image, here every step does.
        """
        if self.optimiser != "sgd":
            return self.lr, self.momentum
        return once_per_class(self.lr * scale, self.momentum, classes)
