"""The laws of herding, and its rule against the naive one."""

import torch

from attar.methods.selection.herding import herd


def features(n=200, d=16, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu()


def naive_herding(f, m):
    """argmin over the rest of ‖(i + 1) μ − S − f_j‖, as it is written (Welling, ICML 2009)."""
    mean, total, picked = f.mean(0), torch.zeros(f.shape[1], dtype=f.dtype), []
    for i in range(m):
        distance = [
            float("inf") if j in picked else ((i + 1) * mean - total - f[j]).norm().item() for j in range(len(f))
        ]
        picked.append(distance.index(min(distance)))
        total = total + f[picked[-1]]
    return picked


def test_herding_equals_the_naive_loop():
    f = features()
    assert herd(f, 30).tolist() == naive_herding(f, 30)


def test_herding_keeps_the_mean_better_than_chance():
    f = features(500, 64)

    def error(rows):
        return (f[rows].mean(0) - f.mean(0)).norm()

    chance = [error(torch.randperm(500, generator=torch.Generator().manual_seed(s))[:20]) for s in range(20)]
    assert error(herd(f, 20)) < min(chance)
