"""Condensed sets of a few pixels, with names that are hard to write down."""

import dataclasses

import torch

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import Normalisation
from attar.data.whitening import measure_whitening

AWKWARD = (
    "zebra",
    "ant / bee",
    "",
    "train",
    "../up",
    "bullet train",
    "Ant",
    "ant",
    "con",
    "ant bee",
    "naïve été",
    "x" * 300,
)


def condensed(classes=("ant", "bee"), channels=1, ipc=3, factor=1, side=8, **provenance) -> CondensedSet:
    images = torch.rand(len(classes) * ipc, channels, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(classes)).repeat_interleave(ipc)
    normalisation = Normalisation((0.4,) * channels, (0.2,) * channels)
    return CondensedSet(images, labels, tuple(classes), normalisation, factor, "unit", provenance)


def whitened(channels=1, **parts) -> CondensedSet:
    """Such a set as networks see it whitened, with a learned step size."""
    made = condensed(channels=channels, **parts)
    normalisation = measure_whitening(made.images, made.normalisation)
    made = dataclasses.replace(made, space="normalised", images=made.decoded())
    return dataclasses.replace(made.renormalised(normalisation), step_size=0.0123)
