"""Features of pictures from a network that was trained elsewhere."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attar.arguments import checked
from attar.data.normalisation import Normalisation
from attar.data.whitening import AnyNormalisation
from attar.files import hash_file
from attar.networks import efficientnet_lite, timm_model
from attar.networks.by_name import is_row, make_network
from attar.networks.efficientnet_lite import EfficientNetLite
from attar.networks.network import Network
from attar.networks.weight_file import read_features
from attar.networks.weights import Weights

SMALLEST, LARGEST = 8, 1024  # pixels a side


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network with weights, by whose features images are selected, compared and drawn. It does not learn here.

    `shape` and `normalisation` are what it takes; `given` is how its images come.
    """

    name: str
    network: Network
    weights: Weights
    shape: tuple[int, int, int]
    normalisation: Normalisation
    given: AnyNormalisation
    code: str
    """A hash of the file of its weights."""

    @property
    def identity(self) -> str:
        """What a run records of it: with another one it would select other images."""
        return f"{self.name} at {self.shape[1]} × {self.shape[2]} pixels, weights {self.code[:16]}"

    @property
    def flop(self) -> int:
        """Floating-point operations of one image."""
        return self.network.flop(self.shape)

    def to(self, device: torch.device) -> "Encoder":
        """The same on another device."""
        moved = [{name: tensor.to(device) for name, tensor in part.items()} for part in self.weights]
        return replace(self, network=self.network.to(device), weights=Weights(*moved), given=self.given.to(device))

    def features(self, w: Weights, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Of images as the task's networks see them. They are brought to this one's size; grey becomes three colours.

        `w` are its weights: a compiled function takes them as an input.
        """
        x = self.given.to_pixels(x).expand(-1, self.shape[0], -1, -1)
        if x.shape[2:] != self.shape[1:]:
            x = F.interpolate(x, self.shape[1:], mode="bilinear", antialias=True)
        return self.network.features(w, self.normalisation.to_network(x))


@checked
def make_encoder(
    name: str,
    weights: Path | str | None,
    size: int | None,
    shape: tuple[int, int, int],
    classes: int,
    given: AnyNormalisation,
) -> Encoder:
    """The encoder for images of this shape, which it brings to `size` pixels a side where that is given.

    `name` is `efficientnet-lite0`, which has weights of its own, or what `make_network` takes. Raises `ValueError`
    where the network or its weights are missing, or do not fit.
    """
    path = None if weights is None else Path(weights)
    check_weights(name, path)
    if is_row(shape):
        raise ValueError("an encoder is for images, and these are rows of a table")
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be from {SMALLEST} to {LARGEST} pixels, not {size}")
    channels, sides, normalisation = find_input(name, shape, given)
    if shape[0] not in (1, channels):
        raise ValueError(f"{name} takes pictures of {channels} channels, and these have {shape[0]}")
    taken = (channels, *(sides if size is None else (size, size)))
    lite = name == efficientnet_lite.NAME
    network = Network(EfficientNetLite(classes)) if lite else make_network(name, taken, classes)
    path = path or efficientnet_lite.find_weights()
    return Encoder(name, network, read_features(network, path), taken, normalisation, given, hash_file(path))


def check_weights(name: str, weights: Path | None) -> None:
    """Raises `ValueError` where the encoder needs a file of weights and has none, or has its own."""
    if name == efficientnet_lite.NAME:
        if weights is not None:
            raise ValueError(f"{name} brings its own weights: leave {weights} out, or name another encoder")
    elif weights is None:
        raise ValueError(f"encoder {name} needs a file of its weights; {efficientnet_lite.NAME} brings its own")
    elif not weights.is_file():
        raise ValueError(f"no such file: {weights}")


def find_input(
    name: str, shape: tuple[int, int, int], given: AnyNormalisation
) -> tuple[int, tuple[int, int], Normalisation]:
    """Channels, sides and normalisation of what the encoder was trained on: that of the task where nothing is known."""
    if name == efficientnet_lite.NAME:
        return 3, (efficientnet_lite.SIDE,) * 2, Normalisation(efficientnet_lite.MEAN, efficientnet_lite.STD)
    if name.startswith(timm_model.PREFIX):
        sides, mean, std = timm_model.find_input(name.removeprefix(timm_model.PREFIX))
        return len(mean), sides, Normalisation(mean, std)
    return shape[0], shape[1:], given.plain
