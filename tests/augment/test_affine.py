"""Affine maps against a scalar loop over pixels, and against torch's own sampling."""

import math

import pytest
import torch
import torch.nn.functional as F

from attar.augment.affine import Resample, affine
from attar.augment.operations import rotate, scale


def images(g=3, n=2, c=3, h=8, w=8, seed=0):
    return torch.randn(g, n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bilinear(x, i, j):
    """x at row i, column j (both real), zero outside."""
    h, w = x.shape
    total = 0.0
    for a in (math.floor(i), math.floor(i) + 1):
        for b in (math.floor(j), math.floor(j) + 1):
            if 0 <= a < h and 0 <= b < w:
                total += float(x[a, b]) * (1 - abs(i - a)) * (1 - abs(j - b))
    return total


def resampled(x, matrix):
    """output(p) = input(M p), p about the centre in units of half a side (x first, as in the literature's grids)."""
    h, w = x.shape
    out = torch.zeros_like(x)
    for i in range(h):
        for j in range(w):
            px, py = (2 * j + 1) / w - 1, (2 * i + 1) / h - 1
            qx = matrix[0][0] * px + matrix[0][1] * py
            qy = matrix[1][0] * px + matrix[1][1] * py
            out[i, j] = bilinear(x, ((qy + 1) * h - 1) / 2, ((qx + 1) * w - 1) / 2)
    return out


@pytest.mark.parametrize("h, w", [(8, 8), (5, 8)])
@pytest.mark.parametrize("maps", [1, 3])
def test_affine_maps_equal_the_loop(h, w, maps):
    """One map for each group, or one for all."""
    x, matrix = images(h=h, w=w), torch.eye(2).double() + torch.rand(maps, 2, 2, dtype=torch.float64) / 3
    found = affine(x, matrix)
    for g in range(3):
        for n in range(2):
            for c in range(3):
                expected = resampled(x[g, n, c], matrix[g % maps].tolist())
                torch.testing.assert_close(found[g, n, c], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("h, w", [(8, 8), (7, 10)])
@pytest.mark.parametrize(
    "matrix", [scale(torch.rand(3, 2)), rotate(15.0, torch.rand(3, 1)), rotate(45.0, torch.rand(3, 1))]
)
def test_resampling_that_gathers_both_ways_is_that_of_torch(h, w, matrix):
    matrix, results = matrix.double(), []
    for function in (affine, Resample.apply):
        x = images(h=h, w=w).requires_grad_()
        out = function(x, matrix)
        (gradient,) = torch.autograd.grad(out, x, images(h=h, w=w, seed=1))
        results.append(torch.stack([out, gradient]))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_affine_grids_do_not_depend_on_the_corner_convention():
    """For square images, as long as grid and sampling agree."""
    x, theta = images(g=1, n=1)[0], torch.tensor([[[0.9, 0.2, 0.0], [-0.1, 1.1, 0.0]]], dtype=torch.float64)
    a, b = (
        F.grid_sample(x, F.affine_grid(theta, [1, 3, 8, 8], align_corners=f), align_corners=f) for f in (True, False)
    )
    torch.testing.assert_close(a[..., 2:6, 2:6], b[..., 2:6, 2:6])
