"""Characteristic functions by complex numbers, in float64."""

from functools import partial

import torch
from test_mmd import assert_close, batches, by_class, double_sum

from attar.distances.characteristic import Sampler, characteristic_distance, gaussian_frequencies, real_and_imaginary
from attar.rng import Rng


def test_characteristic_distance_without_its_root_is_a_gaussian_mmd_on_the_sphere():
    s, r = (torch.nn.functional.normalize(x, dim=2) for x in batches(d=6))
    t = gaussian_frequencies(200_000, 6, Rng.of(0), s.device, s.dtype)
    plain = characteristic_distance(s, r, t[:50], 1.0, 1.0)
    phi = [torch.exp(1j * (x @ t[:50].T)).mean(1) for x in (s, r)]
    amplitude = (phi[1].abs() - phi[0].abs()).square()
    phase = 2 * (phi[1].abs() * phi[0].abs() - (phi[1] * phi[0].conj()).real)
    weighted = characteristic_distance(s, r, t[:50], 0.3, 0.7)
    assert_close(weighted, (0.3 * amplitude + 0.7 * phase).sqrt().mean(1), rtol=1e-9, atol=1e-9)
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
