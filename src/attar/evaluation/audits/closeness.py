"""How near a few synthetic feature vectors Y are to many real ones X, and what is peculiar to them.

All are in float64. Small sets move most of these numbers by themselves: compare them with real subsets of the same
size. `None` is what a set is too small for.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.distances.transport import sliced_wasserstein
from attar.rng import Rng

Real = Float[Tensor, "n d"]
Few = Float[Tensor, "m d"]
NEIGHBOURS = 5  # of density and coverage (Naeem et al., ICML 2020)
FOLDS, FEWEST = 5, 10  # of the classifier, and the vectors that it needs
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of kernels, in median squared distances of real vectors
Measured = dict[str, float | None]


def fid(x: Real, y: Few) -> float:
    """‖m_X − m_Y‖² + tr(C_X + C_Y − 2 (C_X C_Y)^½) (Heusel et al., 2017).

    The trace of the root is the sum of the singular values of C_X^½ (Y − m_Y)ᵀ / √(m − 1): exact also where Y has fewer
    vectors than dimensions.
    """
    centred, few = x - x.mean(0), y - y.mean(0)
    values, axes = torch.linalg.eigh(centred.T @ centred / (len(x) - 1))
    root = values.clamp_min(0).sqrt()[:, None] * axes.T
    spread = few / max(1, len(y) - 1) ** 0.5
    shared = torch.linalg.svdvals(root @ spread.T).sum()
    gap = (x.mean(0) - y.mean(0)).square().sum()
    return (gap + values.clamp_min(0).sum() + spread.square().sum() - 2 * shared).item()


def unbiased_mmd(kernel: Callable[[Tensor, Tensor], Tensor], x: Real, y: Few) -> float | None:
    """E k(x, x') − 2 E k(x, y) + E k(y, y') over pairs of different vectors: 0 on average where Y is as X."""
    if len(y) < 2:
        return None
    return (without_diagonal(kernel(x, x)) - 2 * kernel(x, y).mean() + without_diagonal(kernel(y, y))).item()


def without_diagonal(k: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))


def kid(x: Real, y: Few) -> float | None:
    """With the kernel (u·v / d + 1)³ (Bińkowski et al., ICLR 2018)."""
    return unbiased_mmd(lambda u, v: (u @ v.T / u.shape[1] + 1) ** 3, x, y)


def gaussian_mmd(x: Real, y: Few) -> float | None:
    """With a sum of gaussians around the median squared distance of real vectors."""
    widths = torch.pdist(x[:500]).square().median() * torch.tensor(SCALES, dtype=x.dtype)[:, None, None]
    return unbiased_mmd(lambda u, v: (-torch.cdist(u, v).square() / widths).exp().sum(0), x, y)


def density_and_coverage(x: Real, y: Few) -> tuple[float, float]:
    """How many balls of real vectors hold a synthetic one, over k; and the share of those balls that hold any.

    A ball reaches to its k-th nearest real neighbour.
    """
    k = min(NEIGHBOURS, len(x) - 1)
    radii = torch.cdist(x, x).kthvalue(k + 1, dim=1).values  # the nearest is the vector itself
    inside = torch.cdist(x, y) < radii[:, None]
    return (inside.sum() / (k * len(y))).item(), inside.any(1).double().mean().item()


def voronoi(x: Real, y: Few) -> Float[Tensor, " m"]:
    """The share of real vectors that each synthetic one is nearest to."""
    return torch.cdist(x, y).argmin(1).bincount(minlength=len(y)).double() / len(x)


def evenness(shares: Float[Tensor, " m"]) -> float:
    """exp(entropy) / m: 1 where every synthetic vector stands for as many real ones, 1/m where one stands for all."""
    return (torch.special.entr(shares).sum().exp() / len(shares)).item()


def tell_apart(x: Real, y: Few, rng: Rng) -> float | None:
    """The AUC of a linear classifier between the two, cross-validated: ½ where nothing tells them apart (C2ST).

    Logistic regression on standardised vectors, with classes that weigh the same (Lopez-Paz & Oquab, ICLR 2017).
    """
    if len(y) < FEWEST:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    data, labels = torch.cat([x, y]).numpy(), [0] * len(x) + [1] * len(y)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=rng.seed % 2**32)
    return float(roc_auc_score(labels, cross_val_predict(model, data, labels, cv=folds, method="decision_function")))


def moments(x: Real, y: Few, own: Int[Tensor, " m"]) -> Measured:
    """Of Y against X: distance of means, ratio of variances, skewness; effective rank; distances within classes."""
    few, several = y - y.mean(0), len(y) > 2
    scale = x.std(0).clamp_min(1e-12)
    spread = torch.linalg.svdvals(few).square()
    shares = spread / spread.sum().clamp_min(1e-12)
    skewness = (few.pow(3).mean(0) / few.square().mean(0).clamp_min(1e-12).pow(1.5)).abs().mean().item()
    within = torch.cdist(y, y)[(own[:, None] == own) & ~torch.eye(len(y), dtype=torch.bool)]
    return {
        "distance of means": ((x.mean(0) - y.mean(0)) / scale).norm().item(),
        "variance, of real ones": (few.square().sum() / (len(y) - 1) / scale.square().sum()).item()
        if several
        else None,
        "skewness": skewness if several else None,
        "effective rank": torch.special.entr(shares).sum().exp().item() if several else None,
        "distance within classes": within.mean().item() if len(within) else None,
    }


def measure_closeness(x: Real, y: Few, own: Int[Tensor, " m"], rng: Rng) -> Measured:
    """All of them by name; `own` are the classes of Y. `rng` draws the directions and the folds."""
    density, coverage = density_and_coverage(x, y)
    directions = torch.randn(256, x.shape[1], generator=rng.generator(), dtype=x.dtype)
    shares = voronoi(x, y)
    return {
        "KID": kid(x, y),
        "MMD": gaussian_mmd(x, y),
        "FID": fid(x, y),
        "density": density,
        "coverage": coverage,
        "sliced Wasserstein": sliced_wasserstein(y[None], x[None], directions).item(),
        "told apart, AUC": tell_apart(x, y, rng),
        "Voronoi evenness": evenness(shares),
        **moments(x, y, own),
    }
