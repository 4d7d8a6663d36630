"""What architectures share: normalisation, the border of small images, the sizes that they take, residual stages."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = 64, 128, 256, 512  # channels of the stages of residual networks


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


class Staged(nn.Module):
    """A stem, stages of residual blocks, the mean over each map, then a linear head: the base of residual networks."""

    def __init__(self, stem: nn.Module, stages: Iterable[nn.Module], classes: int):
        super().__init__()
        self.stem, self.stages = stem, nn.ModuleList(stages)
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.layers(x)[-1])

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves the stem and each stage, and the features."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [*maps, maps[-1].mean((2, 3))]
