"""Membership inference: whether an example can be told to have been among those that a set was condensed from.

Every run is attacked with all the others as its shadows. `phi` is the logit of an example's own label under the network
of each run, log p / (1 − p); `member` says whose data held it.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attar.evaluation.audits.intervals import LEVEL, Interval, clopper_pearson

Scores = Float[Tensor, "runs examples"]
Members = Bool[Tensor, "runs examples"]

FEWEST = 10  # false positives that a rate must stand for, or it cannot be told from its neighbours
DELTA = 1e-5
SMALLEST = 1e-9  # variance, where shadows agree to the last bit


def scaled_confidence(scores: Float[Tensor, "n k"], y: Tensor) -> Float[Tensor, " n"]:
    """φ = log p_y − log Σ_{k≠y} p_k, from a network's scores (Carlini et al., S&P 2022)."""
    own = scores.double().gather(1, y[:, None])[:, 0]
    others = scores.double().scatter(1, y[:, None], -math.inf)
    return own - others.logsumexp(1)


def lira(phi: Scores, member: Members) -> Scores:
    """Λ = N(φ; μ_in, σ_in²) / N(φ; μ_out, σ_out²) as a logarithm, for every run (Carlini et al., S&P 2022, §VI).

    Means are those of an example in the other runs; the two variances are pooled over all examples, of what
    differs from an example's own mean. Each example needs two runs of either kind.
    """
    inside, outside = (leave_one_out(phi, own) for own in (member, ~member))
    return log_normal(phi, *inside) - log_normal(phi, *outside)


def log_normal(x: Scores, mean: Scores, variance: Float[Tensor, "runs 1"]) -> Scores:
    """Up to a constant."""
    return -((x - mean).square() / variance + variance.log()) / 2


def leave_one_out(phi: Scores, own: Members) -> tuple[Scores, Float[Tensor, "runs 1"]]:
    """For each run the mean of an example over all other runs that are its `own`, and the variance within these."""
    weight = own.to(phi.dtype)
    total, count = (phi * weight).sum(0), weight.sum(0)
    mean = (total - phi * weight) / (count - weight)
    # Of the others alone: the squared differences of all to their own mean, less what this run adds to that.
    centre = total / count
    squares = ((phi - centre).square() * weight).sum(0)
    squares = squares - weight * (phi - centre).square() * count / (count - weight)
    freedom = (count - weight - 1).clamp_min(0).sum(1, keepdim=True)
    return mean, (squares.sum(1, keepdim=True) / freedom.clamp_min(1)).clamp_min(SMALLEST)


def rmia(phi: Scores, member: Members, population: Float[Tensor, "runs z"]) -> Scores:
    """The share of the population z with [p(x) / p̄(x)] / [p(z) / p̄(z)] > 1 (Zarifzadeh et al., ICML 2024).

    `population` has φ of examples that no run held. p̄ is the mean probability in the other runs, those with and without
    x at equal weight.
    """
    p, z = phi.sigmoid(), population.sigmoid()
    known = (leave_one_out(p, member)[0] + leave_one_out(p, ~member)[0]) / 2
    unknown = leave_one_out(z, torch.ones_like(z, dtype=torch.bool))[0]
    ratios = (z / unknown).sort(1).values
    return torch.searchsorted(ratios, (p / known).contiguous()).double() / z.shape[1]


class Caught(NamedTuple):
    """What an attack reaches at one rate of false positives."""

    true_positives: Interval
    false_positives: Interval
    epsilon: float
    """No mechanism that is (ε, δ)-private with a smaller ε lets an attack reach this, at 95 % confidence."""


def check_rate(rate: float, outsiders: int) -> None:
    """Raises `ValueError` where so few non-members cannot resolve such a rate of false positives."""
    if not 0 < rate < 1:
        raise ValueError(f"a rate of false positives lies between 0 and 1, and not at {rate:g}")
    if (needed := math.ceil(FEWEST / rate - 1e-9)) > outsiders:
        told = f"a false-positive rate of {100 * rate:g} % needs at least {needed:,} non-members over all runs"
        raise ValueError(f"{told}, and there are {outsiders:,}: take more canaries, more runs or a higher rate")


def catch(scores: Scores, member: Members, rate: float) -> Caught:
    """How many members score above all but a share `rate` of the non-members.

    Pairs of a run and an example count as independent trials, as is usual. Raises `ValueError` where non-members are
    too few for that rate.
    """
    inside, outside = scores[member], scores[~member].sort(descending=True).values
    check_rate(rate, len(outside))
    threshold = outside[math.floor(rate * len(outside) + 1e-9)]
    counts = [(int((part > threshold).sum()), len(part)) for part in (inside, outside)]
    true, false = (clopper_pearson(*count) for count in counts)
    return Caught(true, false, bound_epsilon(counts[0], counts[1]))


def bound_epsilon(true: tuple[int, int], false: tuple[int, int], delta: float = DELTA) -> float:
    """max(log((TPR↓ − δ) / FPR↑), log((TNR↓ − δ) / FNR↑)), at least 0, of (hits, trials) among members and others.

    The four ends hold together with 95 % confidence: each interval spends half of the rest.
    """
    tpr, fpr = (clopper_pearson(*count, (1 + LEVEL) / 2) for count in (true, false))
    pairs = ((tpr.low, fpr.high), (1 - fpr.high, 1 - tpr.low))
    return max(0.0, *(math.log((low - delta) / high) for low, high in pairs if low > delta))


def area(scores: Scores, member: Members) -> float:
    """Under the ROC curve: the chance that a member scores above another example, ½ where nothing is told."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(member.flatten().numpy(), scores.flatten().numpy()))


def advantage(scores: Scores, member: Members) -> float:
    """max (TPR − FPR) over all thresholds."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(member.flatten().numpy(), scores.flatten().numpy())
    return float(np.max(true - false))
