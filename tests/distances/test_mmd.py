"""Discrepancies against double sums and laws, in float64."""

from functools import partial
from typing import get_args

import pytest
import torch

from attar.distances.by_name import DISCREPANCIES
from attar.distances.characteristic import Sampler, characteristic_distance, gaussian_frequencies, real_and_imaginary
from attar.distances.mmd import (
    covariance_distance,
    gaussians,
    inverse_multiquadric,
    laplacian,
    mean_distance,
    mean_squared_distance,
    negative_distance,
    polynomial_mmd,
    radial_mmd,
    squared_distances,
)
from attar.distances.transport import quantile_plan, sinkhorn_divergence, sliced_wasserstein
from attar.methods.distribution._settings import Distance
from attar.rng import Rng

every = pytest.mark.parametrize("name", DISCREPANCIES)
assert_close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)


def batches(k=3, n=4, m=6, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(k, size, d, generator=generator, dtype=torch.float64) for size in (n, m))


def published_mmd(s, r):
    """The authors' loss for one class: all pairwise distances of the stacked batch, five bandwidths, blocks of the kernel matrix."""
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


def test_the_names_are_those_that_settings_offer():
    assert get_args(Distance) == tuple(DISCREPANCIES)


@every
def test_none_between_equal_batches_some_between_others_and_no_order_within(name):
    s, r = batches(n=5, m=5, d=8)
    distance = partial(DISCREPANCIES[name], rng=Rng.of(1))
    assert distance(s, s.clone()).abs().max() < 1e-5  # what characteristic floors
    assert (distance(s, r + 1) > 1e-3).all()
    assert_close(distance(s, r), distance(s.flip(1), r[:, [2, 0, 1, 4, 3]]), rtol=1e-9, atol=1e-9)


@every
def test_gradients_are_finite_where_images_coincide_and_lead_downhill(name):
    s, r = batches(n=4, m=6, d=8)
    r = r + 2
    s[:, 1] = s[:, 0]
    s[:, 2] = r[:, 0]
    distance = partial(DISCREPANCIES[name], r=r, rng=Rng.of(1))
    s.requires_grad_()
    value = distance(s)
    (slope,) = torch.autograd.grad(value.sum(), s)
    assert slope.isfinite().all()
    step = 1e-4 / slope.flatten(1).norm(dim=1)[:, None, None]
    assert (distance(s - step * slope) < value).all()


@every
def test_a_class_does_not_see_the_others(name):
    s, r = batches(n=4, m=6, d=8)
    distance = DISCREPANCIES[name]
    assert_close(distance(s, r, Rng.of(1))[1:2], distance(s[1:2], r[1:2], Rng.of(1)), rtol=1e-10, atol=1e-10)


@every
def test_a_single_image_will_do_but_for_covariances(name):
    s, r = batches(n=1, m=6, d=8)
    if name == "moments":
        pytest.skip("refused, see test_covariances_from_gram_matrices")
    (slope,) = torch.autograd.grad(DISCREPANCIES[name](s.requires_grad_(), r, Rng.of(1)).sum(), s)
    assert slope.isfinite().all() and slope.abs().max() > 0


def test_moments_weigh_covariances_by_fifty_over_the_dimension():
    s, r = batches(d=5)
    assert_close(DISCREPANCIES["moments"](s, r, Rng.of(0)), mean_distance(s, r) + 10 * covariance_distance(s, r))


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


def test_sliced_wasserstein_of_a_shift_is_its_length():
    s, _ = batches(k=2, n=6, d=4)
    shift = torch.tensor([1.0, 0, -2, 0.5], dtype=torch.float64)
    directions = gaussian_frequencies(20_000, 4, Rng.of(0), s.device, s.dtype)
    found = sliced_wasserstein(s, s + shift, directions)
    torch.testing.assert_close(found, shift.square().sum().expand(2), rtol=0.03, atol=0)
    assert (sliced_wasserstein(*batches(d=4), directions) > 0.97 * mean_distance(*batches(d=4))).all()


def test_quantiles_of_unequal_batches_are_those_of_repeated_ones():
    s, r = batches(n=4, m=6)
    same = s.repeat_interleave(3, 1), r.repeat_interleave(2, 1)
    directions = gaussian_frequencies(50, s.shape[2], Rng.of(0), s.device, s.dtype)
    assert_close(sliced_wasserstein(s, r, directions), sliced_wasserstein(*same, directions))
    plan = quantile_plan(4, 6, s.device, s.dtype)
    assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64))
    assert_close(plan.sum(1), torch.full((4,), 1 / 4, dtype=torch.float64))


def test_sinkhorn_between_its_limits():
    s, r = batches(n=4, m=4)
    assert_close(sinkhorn_divergence(s, r, epsilon=1e7), mean_distance(s, r) / 2, rtol=1e-5, atol=1e-5)
    assignment = []
    from scipy.optimize import linear_sum_assignment

    for cost in squared_distances(s, r):
        rows, columns = linear_sum_assignment(cost)
        assignment.append(cost[rows, columns].mean() / 2)
    assert_close(sinkhorn_divergence(s, r, epsilon=1e-3, rounds=4000), torch.stack(assignment), rtol=1e-4, atol=1e-4)


def test_sinkhorns_gradient_is_that_of_differences():
    s, r = batches(k=1, n=3, m=4, d=2)
    value = partial(sinkhorn_divergence, r=r, epsilon=0.5, rounds=400)
    assert torch.autograd.gradcheck(value, s.requires_grad_(), atol=1e-6)


def test_characteristic_distance_without_its_root_is_a_gaussian_mmd_on_the_sphere():
    s, r = (torch.nn.functional.normalize(x, dim=2) for x in batches(d=6))
    t = gaussian_frequencies(200_000, 6, Rng.of(0), s.device, s.dtype)
    plain = characteristic_distance(s, r, t[:50], 1.0, 1.0)
    phi = [torch.exp(1j * (x @ t[:50].T)).mean(1) for x in (s, r)]
    amplitude, phase = (
        (phi[1].abs() - phi[0].abs()).square(),
        2 * (phi[1].abs() * phi[0].abs() - (phi[1] * phi[0].conj()).real),
    )
    assert_close(
        characteristic_distance(s, r, t[:50], 0.3, 0.7),
        (0.3 * amplitude + 0.7 * phase).sqrt().mean(1),
        rtol=1e-9,
        atol=1e-9,
    )
    assert_close(plain, (phi[1] - phi[0]).abs().mean(1), rtol=1e-9, atol=1e-9)
    phi = [torch.complex(*real_and_imaginary(x, t)) for x in (s, r)]
    expected = by_class(partial(double_sum, kernel=lambda a, b: torch.exp(-(a - b).square().sum() / 2)), s, r)
    torch.testing.assert_close((phi[1] - phi[0]).abs().square().mean(1), expected, rtol=0.02, atol=1e-3)


def test_frequencies_are_those_of_their_path():
    drawn = [gaussian_frequencies(4, 3, Rng.of(seed), torch.device("cpu"), torch.float64) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_sampler_finds_frequencies_that_tell_samples_apart():
    s, r = (x.float() for x in batches(k=1, n=32, m=32, d=8))
    r[:, :, 0] += 1.5
    sampler = Sampler(8, Rng.of(0), lr=0.1)
    noise = [gaussian_frequencies(16, 8, Rng.of(i), s.device, s.dtype) for i in range(40)]
    assert sampler(noise[0]).shape == (16, 8) and torch.equal(sampler(noise[0]), sampler(noise[0]))
    before = characteristic_distance(s, r, sampler(noise[1])).item()
    for given in noise:
        characteristic_distance(s, r, sampler(given)).sum().backward()
        sampler.ascend()
    assert characteristic_distance(s, r, sampler(noise[1])).item() > 1.2 * before


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


@every
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_equal_points_are_not_apart(name, size):
    """Whatever a bandwidth divides by, in float32: a class of one image, or networks that see nothing."""
    point = size * torch.randn(2048, generator=torch.Generator().manual_seed(0))
    for n, m in ((1, 1), (1, 8), (2, 3), (4, 64))[2 * (name == "moments") :]:
        s = point.expand(2, n, -1).clone().requires_grad_()
        distance = DISCREPANCIES[name](s, point.expand(2, m, -1), Rng.of(0))
        (slope,) = torch.autograd.grad(distance.sum(), s)
        assert distance.abs().max() < 0.2 and slope.norm(dim=2).max() < 2
