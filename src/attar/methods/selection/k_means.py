"""k-means: the real image nearest to each centroid of its class.

Needs a network trained on the whole set, which takes minutes; `features=random` or `pixels` needs none.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods.selection._features import FeatureSpace, select


@dataclass(frozen=True)
class KMeans:
    """`features`: pixels, or what enters the last layer of a network.

    That is unlearned (`random`), `trained` on the whole set for `epochs` epochs, or the task's `encoder`.
    """

    features: FeatureSpace = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        # One seed for all classes, so that a class alone gets what it gets among the others.
        rule = partial(nearest_to_centroids, seed=run.rng.fold("k-means").seed % 2**32)  # as scikit-learn takes it
        return select(task, ipc, run, self.features, self.epochs, rule)


def nearest_to_centroids(f: Float[Tensor, "n d"], m: int, seed: int) -> Int[Tensor, " m"]:
    """For each of m centroids in turn, the nearest image that is not yet taken; of equal ones the first."""
    g = f - f.mean(0)  # near 0, where distances round least
    distance = torch.cdist(find_centroids(g, m, seed), g, compute_mode="donot_use_mm_for_euclid_dist")
    picked: list[int] = []
    for row in distance:
        row[picked] = torch.inf
        picked.append(int(row.argmin()))
    return torch.tensor(picked, device=f.device)


def find_centroids(f: Float[Tensor, "n d"], m: int, seed: int) -> Float[Tensor, "m d"]:
    """By Lloyd's rounds from a start of k-means++."""
    from sklearn import cluster

    # One thread: several add up in any order, and the same seed would not give the same bits.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # of equal images: they are taken in order
        found = cluster.KMeans(m, n_init=1, random_state=seed).fit(f.cpu().numpy())
    return torch.from_numpy(found.cluster_centers_).to(f)
