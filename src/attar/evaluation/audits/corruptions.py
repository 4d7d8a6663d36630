"""Common corruptions: 15 kinds in 5 strengths each, as CIFAR-10-C has them (Hendrycks & Dietterich, ICLR 2019).

Strengths are those of their code for 32 pixels a side; in larger images lengths grow with the side. Ours differ where
theirs need other programs: motion is a sum of shifted images, glass moves all pixels at once, and frost is a random
texture instead of photographs of ice. All take and give pixels on [0, 1], and draw for each image.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Generator, Tensor

from attar.condensed.pictures import to_picture
from attar.rng import Rng

Images = Float[Tensor, "n c h w"]
Field = Float[Tensor, "n h w"]
SIDE = 32  # of the images for which the strengths were chosen
LEVELS = 5


def corrupt(x: Images, kind: str, level: int, rng: Rng) -> Images:
    """Corrupted by one of `CORRUPTIONS` at level 1 to 5."""
    apply, strengths = CORRUPTIONS[kind]
    return apply(x, strengths[level - 1], rng.fold(kind, level).generator()).clamp(0, 1)


def gaussian_noise(x: Images, std: float, g: Generator) -> Images:
    return x + std * torch.randn(x.shape, generator=g)


def shot_noise(x: Images, photons: float, g: Generator) -> Images:
    return torch.poisson(x * photons, generator=g) / photons


def impulse_noise(x: Images, share: float, g: Generator) -> Images:
    """A share of the values becomes black or white."""
    draws = torch.rand(x.shape, generator=g)
    return x.masked_fill(draws < share / 2, 0.0).masked_fill(draws > 1 - share / 2, 1.0)


def defocus_blur(x: Images, strength: tuple[float, float], g: Generator) -> Images:
    """A disk of this radius, whose edge is blurred."""
    radius, edge = strength[0] * scale(x), strength[1]
    reach = math.ceil(radius) + 1
    places = torch.arange(-reach, reach + 1).float()
    disk = (places[:, None].square() + places.square() <= radius**2).float()
    around = gaussian(edge, 1)
    disk = F.conv2d((disk / disk.sum())[None, None], (around[:, None] * around)[None, None], padding=1)
    return F.conv2d(reflect(x, reach), disk.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


def glass_blur(x: Images, strength: tuple[float, int, int], g: Generator) -> Images:
    """Each pixel takes the place of a near one, some times over, between two slight blurs."""
    sigma, delta, times = strength[0] * scale(x), round(strength[1] * scale(x)), strength[2]
    x = blur(x, sigma)
    n, _, h, w = x.shape
    for _ in range(times):
        dx, dy = (torch.randint(-delta, delta + 1, (n, h, w), generator=g).float() for _ in range(2))
        x = warp(x, dx, dy, "nearest")
    return blur(x, sigma)


def motion_blur(x: Images, strength: tuple[float, float], g: Generator) -> Images:
    """Along a direction within 45° of the horizontal."""
    return smear(x, strength, -45.0, 45.0, g)


def smear(x: Images, strength: tuple[float, float], low: float, high: float, g: Generator) -> Images:
    """Shifted images, whose weights fall as a gaussian along a random direction between two angles in degrees."""
    radius, sigma = (length * scale(x) for length in strength)
    angle = torch.deg2rad(low + (high - low) * torch.rand(len(x), 1, 1, generator=g))
    weights = (-torch.arange(round(radius) + 1).square() / (2 * sigma**2)).exp()
    none = torch.zeros(len(x), *x.shape[2:])
    shifted = (warp(x, none + i * angle.cos(), none + i * angle.sin()) for i in range(len(weights)))
    return sum((w * one for w, one in zip(weights / weights.sum(), shifted, strict=True)), torch.zeros_like(x))


def zoom_blur(x: Images, most: float, g: Generator) -> Images:
    """The mean of the image and of what a lens sees that zooms in, by a hundredth each time."""
    steps = [zoom(x, 1 + i / 100) for i in range(round(100 * (most - 1)))]
    return torch.stack([x, *steps]).mean(0)


def snow(x: Images, strength: tuple[float, ...], g: Generator) -> Images:
    """Flakes that fall, on an image that pales."""
    mean, std, near, least, *falling, kept = strength
    flakes = mean + std * torch.randn(len(x), 1, *x.shape[2:], generator=g)
    flakes = zoom(flakes, near)
    flakes = smear(flakes.where(flakes >= least, 0.0).clamp(0, 1), (falling[0], falling[1]), -135.0, -45.0, g)
    pale = x.maximum(grey(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + flakes + flakes.rot90(2, (2, 3))


def frost(x: Images, strength: tuple[float, float], g: Generator) -> Images:
    """A bright texture of ice over a dimmed image."""
    ice = plasma(x, 1.5, g)  # ours: rough, as little of it is smooth
    return strength[0] * x + strength[1] * (ice[:, None] * 1.5).clamp(0, 1)


def fog(x: Images, strength: tuple[float, float], g: Generator) -> Images:
    """A cloud is added, and the contrast falls."""
    amount, decay = strength
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + amount * plasma(x, decay, g)[:, None]) * brightest / (brightest + amount)


def brightness(x: Images, more: float, g: Generator) -> Images:
    """The value of HSV grows; hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    raised = (value + more).clamp_max(1)
    return torch.where(value > 0, x * raised / value.clamp_min(1e-12), raised)


def contrast(x: Images, share: float, g: Generator) -> Images:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * share + mean


def elastic_transform(x: Images, strength: tuple[float, float, float], g: Generator) -> Images:
    """A random affine map of three points, then a smooth random displacement; all lengths in parts of the side."""
    n, side = len(x), min(x.shape[2:])
    amount, smooth, jitter = (length * side for length in strength)
    third = side // 3
    points = torch.tensor([[third, third, 1.0], [third, -third, 1.0], [-third, -third, 1.0]])
    moved = jitter * (2 * torch.rand(n, 3, 2, generator=g) - 1)
    maps = torch.linalg.solve(points.expand(n, 3, 3), moved)  # of the displacement in the place
    ys, xs = (torch.arange(length) - length / 2 for length in x.shape[2:])
    places = torch.stack([*torch.meshgrid(xs, ys, indexing="xy"), torch.ones(x.shape[2:])], -1)
    dx, dy = torch.einsum("hwi,nij->jnhw", places, maps)
    noise = 2 * torch.rand(2, n, *x.shape[2:], generator=g) - 1
    waves = amount * blur(noise, smooth)
    return warp(x, dx + waves[0], dy + waves[1])


def pixelate(x: Images, share: float, g: Generator) -> Images:
    """Fewer pixels, shown as blocks."""
    small = F.interpolate(x, [int(length * share) for length in x.shape[2:]], mode="area")
    return F.interpolate(small, x.shape[2:], mode="nearest")


def jpeg(x: Images, quality: int, g: Generator) -> Images:
    return torch.stack([compress(image, quality) for image in x])


def compress(image: Float[Tensor, "c h w"], quality: int) -> Float[Tensor, "c h w"]:
    """An image, or its channels one by one where a picture has not so many."""
    if len(image) not in (1, 3):
        return torch.cat([compress(channel[None], quality) for channel in image])
    file = io.BytesIO()
    to_picture((image * 255).round().to(torch.uint8)).save(file, "JPEG", quality=quality)
    pixels = torch.from_numpy(np.array(Image.open(file))).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def scale(x: Tensor) -> float:
    """How much larger than 32 pixels the images are."""
    return max(1.0, min(x.shape[2:]) / SIDE)


def grey(x: Images) -> Float[Tensor, "n 1 h w"]:
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def gaussian(sigma: float, reach: int) -> Float[Tensor, " k"]:
    weights = (-torch.arange(-reach, reach + 1).square() / (2 * max(sigma, 1e-6) ** 2)).exp()
    return weights / weights.sum()


def blur(x: Float[Tensor, "n c h w"], sigma: float) -> Float[Tensor, "n c h w"]:
    """By a gaussian of this width in pixels, cut off at three of them."""
    reach = min(math.ceil(3 * sigma), min(x.shape[2:]) - 1)
    weights = gaussian(sigma, reach).expand(x.shape[1], 1, -1)
    x = F.conv2d(reflect(x, reach), weights[:, :, None], groups=x.shape[1])
    return F.conv2d(x, weights[..., None], groups=x.shape[1])


def reflect(x: Tensor, border: int) -> Tensor:
    return F.pad(x, [border] * 4, mode="reflect")


def warp(x: Images, dx: Field, dy: Field, mode: str = "bilinear") -> Images:
    """Each pixel takes what lies `dx` to the right of it and `dy` below, in pixels; the border is mirrored."""
    h, w = x.shape[2:]
    across, down = torch.arange(w) + dx, torch.arange(h)[:, None] + dy
    grid = torch.stack([(2 * across + 1) / w - 1, (2 * down + 1) / h - 1], -1)
    return F.grid_sample(x, grid, mode=mode, padding_mode="reflection", align_corners=False)


def zoom(x: Images, factor: float) -> Images:
    """The middle, enlarged."""
    h, w = x.shape[2:]
    dx, dy = ((torch.arange(length) - (length - 1) / 2) * (1 / factor - 1) for length in (w, h))
    return warp(x, dx.expand(len(x), h, w), dy[:, None].expand(len(x), h, w))


def plasma(x: Images, decay: float, g: Generator) -> Field:
    """A cloud on [0, 1] for each image: noise at every scale, of which each finer one is `decay` times fainter."""
    (n, _, h, w), total, amount = x.shape, torch.zeros(len(x), *x.shape[2:]), 1.0
    for octave in range(1, max(h, w).bit_length() + 1):
        noise = torch.rand(n, 1, 2**octave, 2**octave, generator=g)
        total += amount * F.interpolate(noise, (h, w), mode="bilinear", align_corners=False)[:, 0]
        amount /= decay
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return (total - low) / (high - low)


Strengths = tuple[Any, Any, Any, Any, Any]
CORRUPTIONS: dict[str, tuple[Callable[..., Images], Strengths]] = {
    "gaussian noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot noise": (shot_noise, (500.0, 250.0, 100.0, 75.0, 50.0)),
    "impulse noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))),
    "glass blur": (glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion blur": (motion_blur, ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5))),
    "zoom blur": (zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": (
        snow,
        (
            (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
        ),
    ),
    "frost": (frost, ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (fog, ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic transform": (
        elastic_transform,
        ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg": (jpeg, (80, 65, 58, 50, 40)),
}
