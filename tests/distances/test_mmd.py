"""Moments and kernels against double sums and laws, in float64."""

from functools import partial

import pytest
import torch

from attar.distances.mmd import (
    covariance_distance,
    gaussians,
    inverse_multiquadric,
    laplacian,
    mean_distance,
    mean_squared_distance,
    moments_distance,
    negative_distance,
    polynomial_mmd,
    radial_mmd,
    squared_distances,
)

assert_close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)


def batches(k=3, n=4, m=6, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(k, size, d, generator=generator, dtype=torch.float64) for size in (n, m))


def published_mmd(s, r):
    """The loss of M3D's authors for one class (Zhang et al., AAAI 2024).

    All pairwise distances of the stacked batch, five bandwidths, and blocks of the kernel matrix.
    """
    z = torch.cat([s, r])
    n, total = len(s), len(z)
    d2 = torch.stack([torch.stack([((a - b) ** 2).sum() for b in z]) for a in z])
    bandwidth = d2.detach().sum() / (total**2 - total)
    kernel = sum(torch.exp(-d2 / (bandwidth * 2.0**i)) for i in range(-2, 3))
    return kernel[:n, :n].mean() - 2 * kernel[:n, n:].mean() + kernel[n:, n:].mean()


def double_sum(s, r, kernel):
    """The V-statistic, pair by pair, for one class."""

    def mean(x, y):
        return torch.stack([kernel(a, b) for a in x for b in y]).mean()

    return mean(s, s) - 2 * mean(s, r) + mean(r, r)


def by_class(function, s, r):
    return torch.stack([function(a, b) for a, b in zip(s, r, strict=True)])


def test_moments_weigh_covariances_by_fifty_over_the_dimension():
    s, r = batches(d=5)
    assert_close(moments_distance(s, r), mean_distance(s, r) + 10 * covariance_distance(s, r))


def test_gaussian_mmd_and_its_gradient_equal_the_published_loss():
    s, r = batches()
    s.requires_grad_()
    fast, slow = radial_mmd(gaussians, s, r), by_class(published_mmd, s, r)
    assert_close(fast, slow)
    (g,), (h,) = torch.autograd.grad(fast.sum(), s), torch.autograd.grad(slow.sum(), s)
    assert_close(g, h, rtol=1e-10)


@pytest.mark.parametrize(
    "kernel, formula",
    [
        (laplacian, lambda a, b, scale: torch.exp(-(a - b).norm() / scale**0.5)),
        (inverse_multiquadric, lambda a, b, scale: 1 / (1 + (a - b).square().sum() / scale).sqrt()),
        (negative_distance, lambda a, b, scale: -(a - b).norm()),
    ],
)
def test_radial_kernels_pair_by_pair(kernel, formula):
    s, r = batches()
    scales = mean_squared_distance(torch.cat([s, r], 1))
    slow = torch.stack(
        [double_sum(a, b, partial(formula, scale=scale)) for a, b, scale in zip(s, r, scales, strict=True)]
    )
    assert_close(radial_mmd(kernel, s, r), slow, rtol=1e-7, atol=1e-7)  # distances that should be 0 come out as 1e-8


def test_linear_kernel_mmd_is_the_distance_of_means():
    s, r = batches()
    assert_close(mean_distance(s, r), by_class(partial(double_sum, kernel=torch.dot), s, r))


def test_quadratic_kernel_mmd_is_that_of_second_moments_and_twice_that_of_means():
    s, r = batches()
    second = [x.mT @ x / x.shape[1] for x in (s, r)]
    expected = (second[0] - second[1]).square().sum((1, 2)) + 2 * mean_distance(s, r)
    assert_close(polynomial_mmd(s, r, scale=1.0), expected, rtol=1e-11, atol=1e-11)


def test_covariances_from_gram_matrices():
    s, r = batches()
    direct = by_class(lambda a, b: (a.T.cov() - b.T.cov()).square().sum(), s, r)
    assert_close(covariance_distance(s, r), direct, rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match="at least two images of a class"):
        covariance_distance(s[:, :1], r)


def test_energy_distance_in_one_dimension_is_twice_that_of_distribution_functions():
    s, r = batches(d=1)
    points = torch.cat([s, r], 1)[:, :, 0].sort(1).values
    below = [(x[:, :, 0, None] <= points[:, None, :-1]).double().mean(1) for x in (s, r)]
    expected = 2 * ((below[0] - below[1]).square() * points.diff()).sum(1)
    assert_close(radial_mmd(negative_distance, s, r), expected, rtol=1e-7, atol=1e-7)


def test_energy_distance_with_squares_is_twice_the_distance_of_means():
    s, r = batches()
    assert_close(radial_mmd(lambda d2, b: -d2, s, r), 2 * mean_distance(s, r), rtol=1e-11, atol=1e-11)


def test_bandwidth_identity():
    z, _ = batches(n=7)
    pairs = torch.stack([sum(((a - b) ** 2).sum() for a in c for b in c) / (7 * 6) for c in z])
    assert_close(mean_squared_distance(z), pairs)


def test_five_gaussians_by_squaring():
    d2, b = torch.rand(2, 3, 4, dtype=torch.float64) * 9, torch.tensor([1.3, 4.0], dtype=torch.float64)[:, None, None]
    assert_close(gaussians(d2, b), sum(torch.exp(-d2 / (b * 2.0**i)) for i in range(-2, 3)))
    assert gaussians(torch.zeros(1, 1, 1, dtype=torch.float64), b[:1]).item() == 5


def test_distances_are_exact_and_never_negative():
    s, r = batches()
    assert_close(squared_distances(s, r), (s[:, :, None] - r[:, None]).square().sum(3))
    far = s.float() + 1e3
    assert (squared_distances(far, far) >= 0).all()


def test_gradcheck():
    s, r = batches(k=2, n=2, m=3, d=3)
    # the bandwidth is a constant of the step, so only a fixed one can be checked by differences
    one = torch.ones(2, 1, 1, dtype=torch.float64)
    for kernel in (gaussians, laplacian, inverse_multiquadric, negative_distance):
        assert torch.autograd.gradcheck(
            lambda x, kernel=kernel: kernel(squared_distances(x, r), one), s.requires_grad_()
        )
