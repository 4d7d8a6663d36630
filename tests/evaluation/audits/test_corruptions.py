"""Common corruptions against independent formulas, and the laws that all of them keep."""

import colorsys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from attar.evaluation.audits import corruptions
from attar.evaluation.audits.corruptions import CORRUPTIONS, corrupt
from attar.rng import Rng

RNG = Rng.of(0)


def images(channels=3, side=32, n=6):
    """Smooth and rough parts, as photographs have."""
    noise = torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))
    return (0.7 * corruptions.blur(noise, side / 8) + 0.3 * noise).clamp(0, 1)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("channels, side", [(3, 32), (1, 8), (1, 28), (2, 12)])
def test_images_stay_images_and_the_same_path_corrupts_alike(kind, channels, side):
    x = images(channels, side)
    for level in (1, 5):
        made = corrupt(x, kind, level, RNG)
        assert made.shape == x.shape and made.dtype == x.dtype
        assert made.min() >= 0 and made.max() <= 1 and made.isfinite().all()
        assert torch.equal(made, corrupt(x, kind, level, RNG))
    assert not torch.equal(corrupt(x, kind, 5, RNG), x)


# Of the two left out, strengths change in kind: more blur takes away some of what glass has shuffled.
@pytest.mark.parametrize("kind", sorted(CORRUPTIONS.keys() - {"elastic transform", "glass blur"}))
def test_the_strongest_changes_an_image_more_than_the_weakest(kind):
    x = images(side=32, n=40)
    weakest, strongest = ((corrupt(x, kind, level, RNG) - x).square().mean() for level in (1, 5))
    assert strongest > weakest


@pytest.mark.parametrize("kind", ["defocus blur", "glass blur", "motion blur", "zoom blur", "contrast", "pixelate"])
def test_what_has_no_detail_stays(kind):
    x = torch.full((2, 3, 32, 32), 0.4)
    torch.testing.assert_close(corrupt(x, kind, 5, RNG), x)


def test_noise_has_its_moments():
    x = torch.full((20, 1, 32, 32), 0.5)
    assert (corrupt(x, "gaussian noise", 1, RNG) - x).std().item() == pytest.approx(0.04, rel=0.03)
    assert (corrupt(x, "shot noise", 5, RNG) - x).std().item() == pytest.approx((0.5 / 50) ** 0.5, rel=0.03)
    made = corrupt(x, "impulse noise", 5, RNG)
    assert (made == 0).float().mean().item() == pytest.approx(0.035, rel=0.15)
    assert (made == 1).float().mean().item() == pytest.approx(0.035, rel=0.15)


def test_a_blur_is_scipys():
    x = images(1, 32, 1)
    expected = gaussian_filter(x[0, 0].double().numpy(), 1.5, mode="mirror", truncate=5 / 1.5)
    np.testing.assert_allclose(corruptions.blur(x, 1.5)[0, 0].numpy(), expected, atol=1e-5)


def test_brightness_raises_the_value_of_hsv():
    x = images(3, 8, 1)
    x[0, :, 0, 0] = 0.0
    made = corrupt(x, "brightness", 3, RNG)
    for place in np.ndindex(8, 8):
        hue, saturation, value = colorsys.rgb_to_hsv(*x[(0, slice(None), *place)].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
        assert made[(0, slice(None), *place)].tolist() == pytest.approx(expected, abs=1e-5)


def test_pixels_are_taken_from_where_a_field_says():
    x = images(2, 16, 1)
    right, down = torch.full((1, 16, 16), 3.0), torch.full((1, 16, 16), 1.0)
    moved = corruptions.warp(x, right, down)
    torch.testing.assert_close(moved[..., :15, :13], x[..., 1:, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(corruptions.zoom(x, 1.0), x, atol=1e-5, rtol=0)


def test_an_affine_map_of_three_points_moves_these_points():
    """Without waves, elastic transform is affine: what it does to a ramp is a ramp."""
    ramp = (torch.arange(32) / 64 + 0.25).expand(4, 1, 32, 32)
    made = corruptions.elastic_transform(ramp, (0.0, 0.0, 0.05), RNG.generator())
    inside = made[..., 8:24, 8:24]
    steps = inside.diff(dim=-1)
    torch.testing.assert_close(steps, steps.mean((2, 3), keepdim=True).expand_as(steps), atol=1e-5, rtol=0)
