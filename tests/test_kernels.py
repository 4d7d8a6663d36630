"""Discrepancies against double sums, in float64."""

import torch

from attar.kernels import gaussian_mmd, gaussians, mean_distance, mean_squared_distance, squared_distances


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


def test_gaussian_mmd_and_its_gradient_equal_the_published_loss():
    s, r = batches()
    s.requires_grad_()
    fast = gaussian_mmd(s, r)
    slow = torch.stack([published_mmd(a, b) for a, b in zip(s, r, strict=True)])
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    (g,), (h,) = torch.autograd.grad(fast.sum(), s), torch.autograd.grad(slow.sum(), s)
    torch.testing.assert_close(g, h, rtol=1e-10, atol=1e-12)


def test_linear_kernel_mmd_is_the_distance_of_means():
    s, r = batches()
    gram = [(x @ y.mT).mean((1, 2)) for x, y in ((s, s), (s, r), (r, r))]
    torch.testing.assert_close(mean_distance(s, r), gram[0] - 2 * gram[1] + gram[2], rtol=1e-12, atol=1e-12)


def test_bandwidth_identity():
    z, _ = batches(n=7)
    pairs = torch.stack([sum(((a - b) ** 2).sum() for a in c for b in c) / (7 * 6) for c in z])
    torch.testing.assert_close(mean_squared_distance(z), pairs, rtol=1e-13, atol=1e-13)


def test_five_gaussians_by_squaring():
    d2, b = torch.rand(2, 3, 4, dtype=torch.float64) * 9, torch.tensor([1.3, 4.0], dtype=torch.float64)
    direct = sum(torch.exp(-d2 / (b[:, None, None] * 2.0**i)) for i in range(-2, 3))
    torch.testing.assert_close(gaussians(d2, b), direct, rtol=1e-13, atol=1e-13)
    assert gaussians(torch.zeros(1, 1, 1, dtype=torch.float64), b[:1]).item() == 5


def test_distances_are_exact_and_never_negative():
    s, r = batches()
    direct = (s[:, :, None] - r[:, None]).square().sum(3)
    torch.testing.assert_close(squared_distances(s, r), direct, rtol=1e-12, atol=1e-12)
    far = s.float() + 1e3
    assert (squared_distances(far, far) >= 0).all()


def test_gradient_is_finite_where_batches_coincide():
    s, _ = batches()
    s.requires_grad_()
    value = gaussian_mmd(s, s.detach())
    (gradient,) = torch.autograd.grad(value.sum(), s)
    assert value.abs().max() < 1e-12 and gradient.abs().max() < 1e-12


def test_gradcheck():
    s, r = batches(k=2, n=2, m=3, d=3)
    # the bandwidth is a constant of the step, so only a fixed one can be checked by differences
    assert torch.autograd.gradcheck(lambda x: gaussians(squared_distances(x, r), torch.ones(2, dtype=torch.float64)), s.requires_grad_())
