"""Distances between a few vectors and many: against slow formulas, and at the size where they are 0 on average."""

import statistics

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from attar.evaluation.audits import closeness
from attar.evaluation.audits.spaces import Plane
from attar.rng import Rng

RNG = Rng.of(0)


def draw(n, d=5, name="x", shift=0.0, dtype=torch.float64):
    generator = RNG.fold(name).generator()
    mix = torch.randn(d, d, generator=RNG.fold("mix").generator(), dtype=torch.float64)
    return (torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift).to(dtype)


@pytest.mark.parametrize(
    "m, dtype, tolerance", [(40, torch.float64, 1e-6), (3, torch.float64, 1e-4), (40, torch.float32, 1e-2)]
)
def test_fid_is_that_of_matrix_roots(m, dtype, tolerance):
    """Also of fewer vectors than dimensions, whose covariance has no inverse."""
    x, y = draw(200, dtype=dtype), draw(m, name="y", shift=0.5, dtype=dtype)
    a, b = (np.cov(one.double().numpy().T) for one in (x, y))
    gap = np.square(x.double().numpy().mean(0) - y.double().numpy().mean(0)).sum()
    expected = gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b + 1e-12 * np.eye(5))))
    assert closeness.fid(x, y) == pytest.approx(expected, abs=tolerance)
    assert closeness.fid(x, x) == pytest.approx(0, abs=1e-3 if dtype == torch.float32 else 1e-9)


def test_kid_is_a_mean_over_pairs_of_different_vectors():
    x, y = draw(12), draw(7, name="y", shift=0.3)

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return statistics.fmean(((a[i] @ b[j]).item() / 5 + 1) ** 3 for i, j in pairs)

    expected = mean(x, x, True) - 2 * mean(x, y, False) + mean(y, y, True)
    assert closeness.kid(x, y) == pytest.approx(expected)
    assert closeness.kid(x, y[:1]) is None


@pytest.mark.parametrize("distance", [closeness.kid, closeness.gaussian_mmd])
def test_of_real_subsets_the_unbiased_distances_are_zero_within_two_deviations_of_their_mean(distance):
    x, others = draw(400), draw(6000, name="others")
    found = [distance(x, part) for part in others.split(20)]
    error = statistics.stdev(found) / len(found) ** 0.5
    fixed = distance(x, others)  # what this sample of real vectors itself is away from its source
    assert abs(statistics.fmean(found) - fixed) < 2 * error
    assert abs(fixed) < 2 * statistics.stdev(found)
    assert distance(x, draw(20, name="y", shift=2.0)) > max(found)


def test_density_and_coverage_by_loops():
    x, y = draw(30), draw(9, name="y")
    distances = [sorted((a - b).norm().item() for b in x) for a in x]
    inside = [[(a - b).norm().item() < row[5] for b in y] for a, row in zip(x, distances, strict=True)]
    density, coverage = closeness.density_and_coverage(x, y)
    assert density == pytest.approx(sum(map(sum, inside)) / (5 * 9))
    assert coverage == pytest.approx(statistics.fmean(map(any, inside)))


def test_a_classifier_tells_apart_what_differs_and_nothing_else():
    x = draw(200)
    assert closeness.tell_apart(x, draw(40, name="y"), RNG) == pytest.approx(0.5, abs=0.12)
    assert closeness.tell_apart(x, draw(40, name="y", shift=9.0), RNG) > 0.99
    assert closeness.tell_apart(x, x[:9], RNG) is None


def test_every_synthetic_vector_stands_for_its_share():
    x = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    shares = closeness.voronoi(x, torch.tensor([[1.0], [10.0]]))
    assert shares.tolist() == [0.75, 0.25]
    assert closeness.evenness(torch.tensor([0.25] * 4)) == pytest.approx(1)
    assert closeness.evenness(torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)


def test_moments_of_a_scaled_set_are_scaled():
    x = draw(300)
    y, own = 2 * (x - x.mean(0)) + x.mean(0), torch.zeros(300, dtype=torch.long)
    found = closeness.moments(x, y, own)
    assert found["distance of means"] == pytest.approx(0, abs=1e-9)
    assert found["variance, of real ones"] == pytest.approx(4)
    assert found["distance within classes"] == pytest.approx(2 * torch.pdist(x).mean().item())
    flat = closeness.moments(x, torch.cat([x[:1] * t for t in (1, 2, 3)]), own[:3])
    assert flat["effective rank"] == pytest.approx(1)
    assert closeness.moments(x, x[:1], own[:1])["skewness"] is None


def test_in_one_dimension_the_sliced_distance_is_wassersteins():
    x, y = draw(60, 1), draw(60, 1, name="y", shift=1.0)
    found = closeness.measure_closeness(x, y, torch.zeros(60, dtype=torch.long), RNG)
    assert found["sliced Wasserstein"] >= wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    expected = (x[:, 0].sort().values - y[:, 0].sort().values).square().mean().item()
    assert found["sliced Wasserstein"] == pytest.approx(expected)


def test_a_plane_keeps_the_distances_of_what_it_is_fitted_on():
    x = draw(50, 5)
    placed = Plane.of(x).place(x)
    ratio = torch.pdist(placed) / torch.pdist(x)
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    assert placed.var(0).mean().item() == pytest.approx(1)
    assert (placed.var(0).diff() < 0).all()  # the greatest spread first
