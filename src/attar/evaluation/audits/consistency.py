"""Consistency: which condensation loss tells what a set is worth, before a network is trained on it.

Over many sets of equal size it is the rank correlation of each discrepancy from the real images with the test loss of a
network trained on the set. A loss whose correlation is small is minimised in vain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attar.data.normalisation import unit
from attar.data.whitening import AnyNormalisation
from attar.distances.by_name import DISCREPANCIES
from attar.engine.device import use_device
from attar.engine.piece import Piece, Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.evaluation.audits.frame import Audit, Bench, Found, Subject
from attar.evaluation.audits.intervals import DRAWS, Interval, percentiles
from attar.evaluation.audits.measures import Measure
from attar.evaluation.audits.spaces import NETWORKS, PIXELS, Pixels, Space
from attar.evaluation.audits.trained import Trained, list_trained, read_network, train_pieces
from attar.files import read_tensors
from attar.rng import Rng

LEAST = 10  # sets, below which ranks say nothing
UNLEARNED = "unlearned features"


@dataclass(frozen=True)
class Consistency(Audit):
    """Rank correlations over sets of equal size, of every discrepancy with the test loss."""

    name: ClassVar[str] = "consistency"
    images: int = 2000
    """Test images, over which the test loss is taken."""
    reference: int = 2000
    """Training images that sets are compared with, the same number of each class."""

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        sets = [subject for subject in subjects if subject.role == "set"]
        sizes = {tuple(subject.made.decoded_labels().bincount().tolist()) for subject in sets}
        if len(sizes) > 1 or len(set(*sizes)) > 1:
            raise ValueError("consistency compares sets of equal size, with the same number of images of each class")
        if len(sets) < LEAST:
            told = f"consistency ranks at least {LEAST} sets, not {len(sets)}"
            raise ValueError(f"{told}: give random subsets, and sets made in few and in many updates")

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        return train_pieces(subject, bench) if subject.role == "set" else []

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        if subject.role != "set":
            return []
        task, run = bench.task, bench.run("fp32")
        test = bench.test(min(self.images, len(task.test.y)))
        real = bench.sample(min(self.reference, len(task.train.y)))
        normalisation, flop = subject.made.normalisation, task.network.flop(task.shape)
        spaces = Space(PIXELS), Space(UNLEARNED, task.network, normalisation)
        found = []
        for trained in list_trained(subject, bench):
            work = partial(measure, trained, spaces, normalisation, subject.train.path, test.path, real.path, run)
            recipe = test.hash, real.hash, trained.path.name
            cost = (self.images + NETWORKS * self.reference) * flop
            found.append(subject.piece(bench, "losses", work, recipe=recipe, seed=trained.seed, cost=cost, steps=3))
        return found

    def measures(self, found: Mapping[Subject, Sequence[Found]], bench: Bench) -> list[Measure]:
        results = {subject: own for subject, own in found.items() if subject.role == "set"}
        losses = torch.tensor([np.mean([one["test loss"] for one in own]) for own in results.values()])
        random = torch.tensor([subject.name == "random" for subject in results])
        first = next(iter(results))
        about: dict[str, Any] = {"trained": bench.protocol.name, "network": bench.task.network.name}
        about |= {"networks": len(bench.seeds), "method": f"{len(results)} sets", "draw": 0, "variant": ""}
        rows = []
        for name in results[first][0]["discrepancies"]:
            values = torch.tensor([own[0]["discrepancies"][name] for own in results.values()])
            rows.append(first.measure(self.name, name, correlate(values, losses), **about))
            if random.sum() >= LEAST:
                alone = correlate(values[random], losses[random])
                rows.append(first.measure(self.name, f"{name}, random subsets alone", alone, **about))
        return rows


def measure(
    trained: Trained,
    spaces: Sequence[Space],
    normalisation: AnyNormalisation,
    train: Path,
    test: Path,
    real: Path,
    run: Run,
    tick: Tick,
) -> Found:
    """The test loss of the network, and how far the set is from real images by each discrepancy in each space."""
    made, tested, whole = (read_tensors(path)[0] for path in (train, test, real))
    pixels, images = normalisation.to_pixels(made["x"]), unit(whole["x"])
    found: Found = {"discrepancies": {}}
    with use_precision("fp32"), use_device(run.device), torch.no_grad():
        found["test loss"] = average_loss(trained, normalisation, unit(tested["x"]), tested["y"], run)
        tick()
        for space in spaces:
            embed = space.embedding(images.to(run.device), run)
            s, r = (by_class(embed(x.to(run.device)), y) for x, y in ((pixels, made["y"]), (images, whole["y"])))
            found["discrepancies"] |= {f"{name}, {space.name}": value for name, value in discrepancies(s, r).items()}
            tick()
    return found


def average_loss(trained: Trained, normalisation: AnyNormalisation, x: Pixels, y: Tensor, run: Run) -> float:
    w, total = read_network(trained, run.device), 0.0
    for images, labels in zip(x.split(500), y.split(500), strict=True):
        scores = trained.network.scores(w, normalisation.to_network(images.to(run.device)))
        total += F.cross_entropy(scores.cpu(), labels, reduction="sum").item()
    return total / len(y)


def by_class(features: Float[Tensor, "n d"], labels: Tensor) -> Float[Tensor, "k m d"]:
    """Those of each class, as many as there are of the rarest."""
    rows = [features[(labels == c).to(features.device)] for c in labels.unique()]
    return torch.stack([row[: min(map(len, rows))] for row in rows]).double()


def discrepancies(s: Float[Tensor, "k m d"], r: Float[Tensor, "k n d"]) -> dict[str, float]:
    """Of all by name, summed over the classes, with the same random directions for every set."""
    found: dict[str, float] = {}
    for name, one in DISCREPANCIES.items():
        if name != "moments" or s.shape[1] > 1:  # a single vector has no covariance
            found[name] = one(s, r, Rng(("audit", "consistency"))).sum().item()
    return found


def correlate(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> Interval:
    """Spearman's rank correlation, by a bootstrap over the pairs."""
    rows = torch.randint(len(a), (DRAWS, len(a)), generator=Rng(("audit", "consistency")).generator())
    value = rank_correlation(a[None], b[None]).item()
    return percentiles(value, rank_correlation(a[rows], b[rows]))


def rank_correlation(a: Float[Tensor, "t n"], b: Float[Tensor, "t n"]) -> Float[Tensor, " t"]:
    """Pearson's correlation of the ranks of each row; equal numbers share their ranks."""
    from scipy.stats import rankdata

    ranks = (torch.from_numpy(rankdata(one.double().numpy(), axis=1)) for one in (a, b))
    x, y = (one - one.mean(1, keepdim=True) for one in ranks)
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1)).clamp_min(1e-12)
