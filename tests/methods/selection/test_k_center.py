"""The laws of farthest-first traversal."""

import itertools

import torch
from test_herding import features

from attar.methods.selection.k_center import farthest_first


def radius(f, rows):
    return torch.cdist(f, f[rows]).min(1).values.max().item()


def test_the_radius_of_k_center_never_grows_and_is_within_twice_the_best():
    f = features(60, 3)
    radii = [radius(f, farthest_first(f, m)) for m in range(1, 15)]
    assert all(a >= b for a, b in itertools.pairwise(radii))
    # Gonzalez: among m + 1 centres two share a best cluster, so their distance bounds twice the best radius from below.
    centres = f[farthest_first(f, 6)]
    apart = torch.pdist(centres).min().item()
    assert radius(f, farthest_first(f, 5)) <= apart + 1e-12


def test_k_center_starts_at_the_image_nearest_the_mean():
    f = features()
    assert farthest_first(f, 1).item() == (f - f.mean(0)).norm(dim=1).argmin().item()


def test_equal_images_are_picked_in_order():
    f = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)).repeat(4, 1) + 100
    picked = farthest_first(f, 12).tolist()
    assert sorted(picked) == list(range(12)) and {i % 3 for i in picked[:3]} == {0, 1, 2}
