"""Transport between its limits, in float64."""

from functools import partial

import torch
from scipy.optimize import linear_sum_assignment
from test_mmd import assert_close, batches

from attar.distances.characteristic import gaussian_frequencies
from attar.distances.mmd import mean_distance, squared_distances
from attar.distances.transport import quantile_plan, sinkhorn_divergence, sliced_wasserstein
from attar.rng import Rng


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
    for cost in squared_distances(s, r):
        rows, columns = linear_sum_assignment(cost)
        assignment.append(cost[rows, columns].mean() / 2)
    assert_close(sinkhorn_divergence(s, r, epsilon=1e-3, rounds=4000), torch.stack(assignment), rtol=1e-4, atol=1e-4)


def test_sinkhorns_gradient_is_that_of_differences():
    s, r = batches(k=1, n=3, m=4, d=2)
    value = partial(sinkhorn_divergence, r=r, epsilon=0.5, rounds=400)
    assert torch.autograd.gradcheck(value, s.requires_grad_(), atol=1e-6)
