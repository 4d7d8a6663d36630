"""How sure a number is: intervals of 95 per cent."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from attar.rng import Rng

LEVEL = 0.95
DRAWS = 1000  # of a bootstrap


class Interval(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def clopper_pearson(hits: int, trials: int, level: float = LEVEL) -> Interval:
    """The share of hits. Its exact interval inverts the binomial test (Clopper & Pearson, 1934)."""
    from scipy.stats import beta

    rest = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(rest, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.ppf(1 - rest, hits + 1, trials - hits))
    return Interval(hits / trials, low, high)


def percentiles(value: float, draws: Float[Tensor, " draws"]) -> Interval:
    """The value, between the percentiles of what resampled data gives (Efron, 1979)."""
    low, high = draws.double().quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)).tolist()
    return Interval(value, low, high)


def mean_interval(values: Sequence[float], rng: Rng) -> Interval:
    """The mean, by a bootstrap over the values."""
    held = torch.tensor(values, dtype=torch.float64)
    draws = held[torch.randint(len(held), (DRAWS, len(held)), generator=rng.generator())].mean(1)
    return percentiles(held.mean().item(), draws)


def mean_of_networks(values: Float[Tensor, "networks images"], rng: Rng) -> Interval:
    """The mean, by a bootstrap over networks and over images: the same images for all networks of a draw."""
    (networks, images), held, generator = values.shape, values.double(), rng.generator()
    rows = torch.randint(networks, (DRAWS, networks), generator=generator)
    columns = torch.randint(images, (DRAWS, images), generator=generator)
    shares = F.one_hot(rows, networks).double().mean(1)  # of each network in a draw
    return percentiles(held.mean().item(), (shares @ held).gather(1, columns).mean(1))


def hit_rate(hits: Bool[Tensor, "networks images"], rng: Rng) -> Interval:
    """Per cent of hits, by a bootstrap over networks and images.

    A single network, and those that hit all or nothing, leave only the images to resample: then it is exact.
    """
    (networks, images), rate = hits.shape, hits.double().mean().item()
    if networks == 1 or rate in (0.0, 1.0):
        return Interval(*(100 * end for end in clopper_pearson(round(rate * images), images)))
    return mean_of_networks(100 * hits.double(), rng)
