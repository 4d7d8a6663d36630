"""Herding and k-center over all candidates at every pick."""

import torch
from torch import Tensor


def herd(f: Tensor, m: int) -> list[int]:
    mean, total, picked = f.mean(0), torch.zeros_like(f[0]), []
    for i in range(m):
        distance = ((i + 1) * mean - total - f).norm(dim=1)
        distance[picked] = torch.inf
        picked.append(int(distance.argmin()))
        total += f[picked[-1]]
    return picked


def farthest_first(f: Tensor, m: int) -> list[int]:
    picked = [int((f - f.mean(0)).norm(dim=1).argmin())]
    while len(picked) < m:
        distance = torch.stack([(f - f[i]).norm(dim=1) for i in picked]).min(0).values
        distance[picked] = -1
        picked.append(int(distance.argmax()))
    return picked
