"""Which real images are nearest to synthetic ones: those that a set was made from, or others?"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.data.normalisation import unit
from attar.engine.device import use_device
from attar.engine.piece import Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.evaluation.audits.frame import Found
from attar.evaluation.audits.intervals import Interval, clopper_pearson
from attar.evaluation.audits.spaces import PIXELS, Space
from attar.evaluation.audits.trained import Trained
from attar.files import read_tensors

FEATURES = "features"  # of a network that was trained on all real images
AT_ONCE = 2000  # images whose features are in memory
COPY = 0.001  # of test images, the share that lies as near to a training image as a copy does: ours


class Nearest(NamedTuple):
    """For each vector the nearest of others, and how far it is."""

    distance: Float[Tensor, " n"]
    row: Int[Tensor, " n"]


def nearest(x: Float[Tensor, "n d"], others: Iterable[Float[Tensor, "_ d"]]) -> Nearest:
    """By the Euclidean distance. The others come some at a time, and their rows are counted through."""
    best = torch.full((len(x),), torch.inf, device=x.device)
    found, before = torch.zeros(len(x), dtype=torch.long, device=x.device), 0
    for some in others:
        row = (some.square().sum(1) / 2 - x @ some.T).argmin(1)
        # Computed anew, as the product that finds the row rounds small distances.
        distance = (x - some[row]).norm(dim=1)
        found = torch.where(distance < best, row + before, found)
        best, before = best.minimum(distance), before + len(some)
    return Nearest(best, found)


@torch.no_grad()
def find_nearest(images: Path, parts: dict[str, Path], trained: Trained, run: Run, tick: Tick) -> Found:
    """For each of the images in a file the distance to the nearest of each part, in pixels and in features."""
    own = next(read_pixels(images, run, most=None))
    found: Found = {}
    with use_precision(run.precision), use_device(run.device):
        for space in (Space(PIXELS), Space(FEATURES, trained, trained.normalisation)):
            embed = space.embedding(own[:AT_ONCE], run)
            x = embed(own)
            real = {name: map(embed, read_pixels(path, run)) for name, path in parts.items()}
            found[space.name] = {name: nearest(x, others).distance.tolist() for name, others in real.items()}
            tick()
    return found


def read_pixels(path: Path, run: Run, most: int | None = AT_ONCE) -> Iterator[Float[Tensor, "n c h w"]]:
    """Images of a file on [0, 1], `most` at a time, or all at once."""
    x = read_tensors(path)[0]["x"]
    for part in x.split(most or len(x)):
        yield unit(part.to(run.device))


def list_rows(found: Found, held: Found, chance: float) -> Iterator[tuple[str, Interval | float, str]]:
    """Name, value and unit of each row about a set.

    `held` is what was found of test images, which no set was made from. `chance` is the share of training images among
    all real ones, in per cent.
    """
    yield "nearer to a training than to any test image, by chance", chance, "%"
    for space in (PIXELS, FEATURES):
        train, test = (torch.tensor(found[space][name]) for name in ("training", "test"))
        others = torch.tensor(held[space]["training"]).sort().values
        yield f"nearer to a training than to any test image, {space}", share(train < test), "%"
        yield f"copies of training images, {space}", share(train < others[int(COPY * len(others))]), "%"
        yield f"distance to the nearest training image, {space}", train.median().item(), ""
        yield f"distance to the nearest test image, {space}", test.median().item(), ""


def share(hits: Tensor) -> Interval:
    """In per cent."""
    return Interval(*(100 * end for end in clopper_pearson(int(hits.sum()), len(hits))))
