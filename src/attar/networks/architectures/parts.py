"""What architectures share: normalisation, the border of small images, and the sizes that they take."""

from collections.abc import Sequence

from torch import Tensor, nn


def make_norm(norm: str, width: int) -> nn.Module:
    """`instance` is group normalisation with one group a channel (affine, ε 1e-5); `batch` and `none` are the usual.

    Raises `ValueError` for another name.
    """
    if norm == "instance":
        return nn.GroupNorm(width, width)
    if norm == "batch":
        return nn.BatchNorm2d(width)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"unknown norm {norm!r}: instance, batch or none")


def border(sides: Sequence[int]) -> int:
    """Pixels around an image: those of 28 pixels a side enter as if they had 32 (Zhao et al., ICLR 2021)."""
    return 2 if list(sides) == [28, 28] else 0


def check_sides(name: str, sides: Sequence[int], least: int) -> None:
    """Raises `ValueError` for images so small that nothing of them would be left.

    Of a map of one pixel instance normalisation leaves nothing.
    """
    if min(sides) + 2 * border(sides) < least:
        told = f"{name} takes images of at least {least} pixels a side, not of {sides[0]} × {sides[1]}"
        raise ValueError(f"{told}: take another network, or larger images")


def list_layers(body: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What leaves each ReLU, and what leaves the body, which are the features."""
    found = []
    for layer in body:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            found.append(x)
    return [*found, x]
