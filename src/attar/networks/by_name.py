"""A family of networks by name: a known architecture, one of timm's, or a class of the user's file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import nn

from attar.networks.architectures import MLP, VGG11, AlexNet, ConvNet, LeNet, ResNet18, ResNetAP10
from attar.networks.network import Network
from attar.networks.timm_model import PREFIX, TimmModel
from attar.networks.user_file import UserFile
from attar.wording import in_a_line, unknown


class Architecture(NamedTuple):
    """What a name stands for."""

    label: str
    """What rows, recipes and caches call it: never changed."""
    build: Callable[[tuple[int, ...], int], nn.Module]
    about: str


ARCHITECTURES = {
    "convnet": Architecture("ConvNet", ConvNet, "the literature's own: 3×3 convolutions, instance normalisation"),
    "convnet-bn": Architecture("ConvNet-BN", partial(ConvNet, norm="batch"), "the same with batch normalisation"),
    "mlp": Architecture("MLP", MLP, "two hidden layers of 128 units on flattened pixels"),
    "lenet": Architecture("LeNet", LeNet, "LeNet-5, from 16 pixels a side"),
    "alexnet": Architecture("AlexNet", AlexNet, "five convolutions without normalisation, from 8 pixels a side"),
    "vgg11": Architecture("VGG11", VGG11, "VGG-11 with instance normalisation, for 28 pixels a side and from 32 on"),
    "vgg11-bn": Architecture("VGG11-BN", partial(VGG11, norm="batch"), "the same with batch normalisation"),
    "resnet18": Architecture("ResNet18", ResNet18, "ResNet-18 with instance normalisation, from 9 pixels a side"),
    "resnet18-bn": Architecture("ResNet18-BN", partial(ResNet18, norm="batch"), "the same with batch normalisation"),
    "resnetap10": Architecture(
        "ResNetAP10", ResNetAP10, "ResNet-10 with average pooling and instance normalisation, from 16 pixels a side"
    ),
    "resnetap10-bn": Architecture(
        "ResNetAP10-BN", partial(ResNetAP10, norm="batch"), "the same with batch normalisation"
    ),
}
OTHERS = {
    f"{PREFIX}NAME": "a model of timm without its weights: pip install 'attar[timm]'",
    "file.py:Name": "a module of yours, called as Name(shape, classes)",
}


@dataclass(frozen=True)
class ByName:
    """Builds a known architecture. It can be sent to another process, and says who it is."""

    name: str
    shape: tuple[int, ...]
    classes: int

    def __call__(self) -> nn.Module:
        return ARCHITECTURES[self.name].build(self.shape, self.classes)

    @property
    def label(self) -> str:
        return ARCHITECTURES[self.name].label

    @property
    def key(self) -> str:
        # The braces held keywords once; without them, networks that lie in caches would be trained again.
        return f"{self.label} {(self.shape, self.classes)} {{}}"


def usual_network(shape: tuple[int, ...]) -> str:
    """The network that is taken where none is named: another one for rows of a table, of the shape (d, 1, 1)."""
    return "mlp" if is_row(shape) else "convnet"


def is_row(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape are rows of a table, and not images."""
    return shape[1:] == (1, 1)


def make_network(name: str, shape: tuple[int, ...], classes: int) -> Network:
    """A known architecture by name, `timm:NAME`, or `file.py:Name` for one's own, called as `Name(shape, classes)`.

    Raises `ValueError` where the name is unknown, the file does not hold it, timm is not installed, or the network does
    not take images of this shape and give a score for each class.
    """
    if name.startswith(PREFIX):
        model = TimmModel.named(name.removeprefix(PREFIX), shape, classes)
        return check_scores(Network(model), name, shape, classes)
    if ".py:" in name:
        build = UserFile.named(name, shape, classes)
        return check_scores(Network(build), build.name, shape, classes)
    if name not in ARCHITECTURES:
        raise ValueError(unknown("network", name, [*ARCHITECTURES, *OTHERS]))
    if is_row(shape) and name != "mlp":
        told = f"network {name} is for images, and these are rows of a table"
        raise ValueError(f"{told}: mlp, or file.py:Name for one of your own, takes them")
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
