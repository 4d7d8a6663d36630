"""The laws of k-means, and its choice against a slow one."""

import torch
from test_herding import features

from attar.methods.selection.k_means import find_centroids, nearest_to_centroids


def quantisation_error(f, rows):
    """Mean squared distance of an image to the nearest chosen one."""
    return torch.cdist(f, f[rows]).min(1).values.square().mean().item()


def test_it_quantises_better_than_chance():
    f = features(300, 8)
    chance = [
        quantisation_error(f, torch.randperm(300, generator=torch.Generator().manual_seed(s))[:12]) for s in range(20)
    ]
    assert quantisation_error(f, nearest_to_centroids(f, 12, seed=0)) < min(chance)


def test_centroids_are_the_means_of_the_images_that_are_nearest_to_them():
    f = features(300, 8)
    centroids = find_centroids(f, 10, seed=0)
    own = torch.cdist(f, centroids).argmin(1)
    means = torch.stack([f[own == c].mean(0) for c in range(10)])
    torch.testing.assert_close(means, centroids, rtol=0.05, atol=0.02)  # Lloyd's rounds end when little changes


def test_each_centroid_takes_the_nearest_image_that_is_left():
    f = features(40, 3)
    g, picked = f - f.mean(0), []
    for centroid in find_centroids(g, 12, seed=3):
        left = [j for j in range(40) if j not in picked]
        picked.append(min(left, key=lambda j: (g[j] - centroid).norm().item()))
    assert nearest_to_centroids(f, 12, seed=3).tolist() == picked


def test_one_image_of_k_means_is_the_nearest_to_the_mean():
    f = features()
    assert nearest_to_centroids(f, 1, seed=0).item() == (f - f.mean(0)).norm(dim=1).argmin().item()


def test_the_seed_decides():
    f = features(500, 16)
    first = nearest_to_centroids(f, 20, seed=1)
    assert torch.equal(first, nearest_to_centroids(f, 20, seed=1))
    assert not torch.equal(first, nearest_to_centroids(f, 20, seed=2))
