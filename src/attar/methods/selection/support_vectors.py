"""Support vectors (Cortes & Vapnik, 1995): the real images on which an SVM's decisions rest, as many as there are.

Needs nothing trained. Its time grows with the square of the images, of which at most `most` take part: a minute for
10,000 of MNIST on two cores.
"""

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods.selection._features import FeatureSpace, make_embedding

if TYPE_CHECKING:
    from sklearn.svm import SVC

LOG = logging.getLogger("attar")
TOLERANCE = 1e-6  # of the solver: it bounds how exactly the selection gives the same decisions


@dataclass(frozen=True)
class SupportVectors:
    """An SVM for each pair of classes. An image that is a support vector of none can be left out: nothing changes.

    `features` and `epochs` are as in herding. Features are centred and brought to a variance of 1 over all together, so
    that `C`, the cost of an image within the margin, and `gamma`, of the kernel exp(−γ‖a − b‖²), fit any data. At most
    `most` images of all classes together take part, about as many of each.
    """

    features: FeatureSpace = "pixels"
    epochs: int = 20
    kernel: Literal["linear", "rbf"] = "linear"
    C: float = 10.0
    gamma: float = 1.0
    most: int = 10_000
    separable: ClassVar[bool] = False
    decides_budget: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("C", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")

    def __call__(self, task: Task, ipc: None, run: Run) -> CondensedSet:
        members = draw(task, run, self.most)
        x = standardise(make_embedding(task, run, self.features, self.epochs)(members)).cpu()
        y = task.train.y[members].cpu()
        whole = self.fit(x, y)
        chosen = torch.from_numpy(whole.support_).long()
        chosen = chosen[(y[chosen] * len(x) + chosen).argsort()]  # by class, and in order within it
        certificate = certify(whole, self.fit(x[chosen], y[chosen]), x)
        made = CondensedSet.selected(task, members[chosen.to(members.device)])
        return dataclasses.replace(made, provenance=made.provenance | {"ipc": None, "certificate": certificate})

    def fit(self, x: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> "SVC":
        # `gamma` is a number, and classes have no weights: either would change with the images that are left.
        from sklearn.svm import SVC

        svm = SVC(
            C=self.C, kernel=self.kernel, gamma=self.gamma, tol=TOLERANCE, decision_function_shape="ovo", cache_size=500
        )
        return svm.fit(x.numpy(), y.numpy())


def draw(task: Task, run: Run, most: int) -> Int[Tensor, " n"]:
    """Training indices of the run's classes: all, or where these are more than `most`, about as many of each class.

    Raises `ValueError` where fewer than two classes have images.
    """
    classes = [c for c in run.shard(len(task.classes)) if task.counts[c]]
    if len(classes) < 2:
        raise ValueError(f"an SVM needs images of at least two classes; {task.name} has them of {len(classes)}")
    total = int(task.counts[classes].sum())
    if total <= most:
        each = int(task.counts.max())
    else:
        each = max(1, most // len(classes))
        told = f"the SVM sees {each:,} images a class, as its time grows with their square"
        LOG.warning(f"{told}: most={total} takes all {total:,} images")
    # Unique, as a small class repeats its images.
    return task.indices(classes, each, run.rng.fold("select")).unique()


def standardise(f: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Centred, in float64, with a mean squared norm of 1. No feature gains on another."""
    g = f.double() - f.double().mean(0)
    return g / g.square().sum(1).mean().sqrt().clamp_min(1e-12)  # of equal images nothing is left


def certify(whole: "SVC", again: "SVC", x: Float[Tensor, "n d"]) -> dict[str, int | float]:
    """How two SVMs differ on the images that the first has seen: their largest difference, and how often they agree.

    Decision values are those of each pair of classes; the margin is 1 wide on either side.
    """
    both, seen = (whole, again), x.numpy()
    first, second = (svm.decision_function(seen) for svm in both)
    same = whole.predict(seen) == again.predict(seen)
    return {"images": len(x), "difference": float(abs(first - second).max()), "agreement": float(same.mean())}
