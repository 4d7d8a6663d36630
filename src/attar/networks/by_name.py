"""A family of networks by name: a known architecture, or a class of the user's file."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attar.networks.architectures import MLP, ConvNet
from attar.networks.network import Network
from attar.networks.user_file import UserFile
from attar.wording import in_a_line, unknown

ARCHITECTURES: dict[str, type[nn.Module]] = {"convnet": ConvNet, "mlp": MLP}


@dataclass(frozen=True)
class ByName:
    """Builds a known architecture. It can be sent to another process, and says who it is."""

    name: str
    shape: tuple[int, ...]
    classes: int

    def __call__(self) -> nn.Module:
        return ARCHITECTURES[self.name](self.shape, self.classes)

    @property
    def label(self) -> str:
        return ARCHITECTURES[self.name].__name__

    @property
    def key(self) -> str:
        # The braces held keywords once; without them, networks that lie in caches would be trained again.
        return f"{self.label} {(self.shape, self.classes)} {{}}"


def make_network(name: str, shape: tuple[int, ...], classes: int) -> Network:
    """A known architecture by name, or `file.py:Name` for one's own, called as `Name(shape, classes)`.

    Raises `ValueError` where the name is unknown, the file does not hold it, or it does not give a score for each class
    of such images.
    """
    if ".py:" in name:
        file, _, within = name.rpartition(":")
        build = UserFile.at(Path(file).resolve(), within, shape, classes)
        return check_scores(Network(build), within, shape, classes)
    if name not in ARCHITECTURES:
        raise ValueError(unknown("network", name, [*ARCHITECTURES, "file.py:Name"]))
    return Network(ByName(name, shape, classes))


def check_scores(family: Network, name: str, shape: tuple[int, ...], classes: int) -> Network:
    """The family itself, once it has shown what it makes of an image."""
    try:
        scores = family.scores_shape(shape)
    except Exception as error:
        raise ValueError(f"{name} does not take images of shape {shape}: {in_a_line(error)}") from None
    if scores != (1, classes):
        raise ValueError(f"{name} gives scores of shape {scores} for an image, not {(1, classes)}, one for each class")
    return family
