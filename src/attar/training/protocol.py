"""How a network is trained to judge a set: every accuracy is tied to one of these."""

import math
import reprlib
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from attar.arguments import read
from attar.augment.dsa import Augment
from attar.condensed.condensed_set import CondensedSet
from attar.training.losses import Loss

Decay = Literal["half", "thirds", "constant", "warm-up"]
Optimiser = Literal["sgd", "adam"]
LATER = ("optimiser", "loss")  # fields that older versions did not have

NONE = Augment("")
TURNS = Augment("crop_scale_turn", "dc")
DSA = Augment("color_crop_cutout_flip_scale_rotate", "dsa")
IDC = Augment("color_crop_flip_scale_rotate", "idc")
# The authors' crop and translation are both shifts. That a batch has one of the operations is ours.
FREPO = Augment("color_crop_cutout_flip_rotate", "dsa")


@dataclass(frozen=True)
class Protocol:
    """Training on hard labels, unless it takes others; the accuracy reported is that of the last epoch.

    `decay="half"` divides the step size by ten just past half-way and forgets the momentum, as the authors of DC do.
    `"thirds"` multiplies it by 0.2 at two thirds and at five sixths, but never before the first epoch. `"warm-up"`
    raises it from 0 over the first half of the updates, and lets it fall to 0 along half a cosine. `steps` caps the
    number of updates. Adam's β₁ is `momentum`. The loss `"squares"` is of learned targets, or of centred one-hot
    labels where a set has none.
    """

    name: str
    about: str
    epochs: int
    batch: int
    decay: Decay
    augment: Augment = NONE
    cutmix: float = 0.0
    """Probability, a mini-batch."""
    steps: int | None = None
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimiser: Optimiser = "sgd"
    loss: Loss = "cross-entropy"
    # What a protocol takes of a set shows in the images, labels and step sizes that rows are kept by: not here again.
    learned_step: bool = field(default=False, repr=False)
    """Whether it trains with the step size that was learned with a set, instead of `lr`."""
    soft: bool = field(default=False, repr=False)
    """Whether it trains on a set's soft labels."""
    whitened: bool = field(default=False, repr=False)
    """Whether networks see images whitened where a set is."""
    fresh: bool = field(default=False, repr=False)
    """Whether each epoch has fresh images of a set's generator: whole batches that its samples fill, and one more."""
    in_order: bool = field(default=False, repr=False)
    """Whether it trains by the steps that were learned with a set, in their order and by their sizes."""

    # Run-time checks of types, where one has switched them on, would come before these sentences.
    __no_type_check__ = True

    def __post_init__(self) -> None:
        """Raises `ValueError` for values by which no network can be trained."""
        whole: tuple[tuple[str, Any], ...] = ("epochs", int), ("batch", int), ("steps", int | None)
        for name, hint in (*whole, ("decay", Decay), ("optimiser", Optimiser), ("loss", Loss)):
            value = read(name, getattr(self, name), hint)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
            object.__setattr__(self, name, value)  # NumPy's whole numbers are Python's, in the keys of rows too
        for name in ("cutmix", "lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, not {reprlib.repr(value)}")

    def __repr__(self) -> str:
        """By it rows and trained networks are kept, so what is as in older versions is told as they told it."""
        told = [f for f in fields(self) if f.repr and not (f.name in LATER and getattr(self, f.name) == f.default)]
        return f"Protocol({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in told)})"

    @property
    def images_alone(self) -> bool:
        """Whether it takes of a set but images and their classes, which real images have too."""
        return self.loss == "cross-entropy" and not (self.soft or self.learned_step or self.in_order or self.fresh)

    def plain(self) -> "Protocol":
        """The same without augmentation, as rows of a table have none; by another name where that is another one."""
        if not self.augment.names and not self.cutmix:
            return self
        name, about = f"{self.name}-plain", f"{self.about}; here without augmentation"
        return replace(self, name=name, about=about, augment=NONE, cutmix=0.0)

    def at(self, made: CondensedSet) -> "Protocol":
        """The same with what was learned of a training with the set, where it takes that and the set has it."""
        if self.learned_step and made.step_size is not None:
            return replace(self, lr=made.step_size)
        if self.in_order and made.steps is not None:
            return replace(self, epochs=len(made.steps.sizes), batch=made.steps.rows.shape[1])
        return self

    def seen(self, n: int) -> int:
        """Images in an epoch, for a set of `n`; of a generator as DiM's authors count batches."""
        return (n // self.batch + 1) * self.batch if self.fresh else n

    def length(self, n: int) -> int:
        """Epochs for a set of `n` images."""
        return self.epochs if self.steps is None else min(self.epochs, -(-self.steps // -(-n // self.batch)))

    def updates(self, n: int) -> int:
        """Steps of the optimiser for a set of `n` images."""
        return self.length(n) * -(-n // self.batch)

    def drops(self, epochs: int) -> dict[int, float]:
        """What the step size is multiplied by before which epoch, counting from 0."""
        if self.decay in ("constant", "warm-up"):
            return {}
        if self.decay == "half":
            return {epochs // 2 + 2: 0.1}
        at = (2 * epochs // 3, 5 * epochs // 6)
        return {epoch: 0.2 ** at.count(epoch) for epoch in at if epoch}

    def factor(self, done: int, updates: int) -> float:
        """What the step size is multiplied by besides, after `done` of so many updates."""
        if self.decay != "warm-up":
            return 1.0
        along = 2 * done / updates
        return along if along < 1 else (1 + math.cos(math.pi * (along - 1))) / 2


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("dc", "301 epochs, no augmentation (DC)", 301, 256, "half"),
        Protocol(
            "dc-mnist", "1001 epochs, each image shifted, scaled or turned (DC on MNIST)", 1001, 256, "half", TURNS
        ),
        Protocol("cafe", "601 epochs, no augmentation (CAFE)", 601, 256, "half"),
        Protocol("dm", "1001 epochs, DSA (DSA, DM)", 1001, 256, "half", DSA),
        Protocol(
            "mtt",
            "1001 epochs, DSA, each set's learned step size; whitened where the set is (MTT, FTD)",
            1001,
            256,
            "half",
            DSA,
            learned_step=True,
            whitened=True,
        ),
        Protocol(
            "datm",
            "as mtt, but batches of 128 and each set's soft labels (DATM)",
            1001,
            128,
            "half",
            DSA,
            learned_step=True,
            soft=True,
            whitened=True,
        ),
        Protocol(
            "dim",
            "1000 epochs, colour and crops, fresh images of each set's generator in every epoch (DiM)",
            1000,
            128,
            "constant",
            Augment("color_crop", "idc"),
            fresh=True,
        ),
        Protocol("idc", "1000 epochs, DSA in IDC's style and CutMix (IDC, M3D)", 1000, 64, "thirds", IDC, cutmix=0.5),
        Protocol("whole20", "20 epochs as in idc, for whole training sets", 20, 64, "thirds", IDC, cutmix=0.5),
        Protocol(
            "frepo",
            "1000 steps of Adam on squared errors of each set's learned targets; whitened where the set is (FRePo)",
            1000,
            500,
            "warm-up",
            FREPO,
            steps=1000,
            lr=3e-4,
            weight_decay=0.0,
            optimiser="adam",
            loss="squares",
            whitened=True,
        ),
        Protocol(
            "bptt",
            "1000 steps of Adam, each image mirrored or turned; whitened where the set is (BPTT, RaT-BPTT)",
            1000,
            256,
            "constant",
            Augment("flip_rotate"),
            steps=1000,
            lr=1e-3,
            weight_decay=0.0,
            optimiser="adam",
            whitened=True,
        ),
        Protocol(
            "dd",
            "each set's own steps of plain SGD, in their order and by their learned sizes (DD)",
            1,
            1,
            "constant",
            momentum=0.0,
            weight_decay=0.0,
            in_order=True,
        ),
        Protocol("quick", "300 steps, DSA: for a first look, never for claims", 300, 256, "half", DSA, steps=300),
    )
}


def about(name: str) -> str:
    """What a protocol's rows were trained by; empty for one that is not known."""
    known = PROTOCOLS | {protocol.plain().name: protocol.plain() for protocol in PROTOCOLS.values()}
    return known[name].about if name in known else ""
