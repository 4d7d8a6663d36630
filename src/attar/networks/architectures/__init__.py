"""Networks to condense with and to train: each is called with `(shape, classes)` and its own fields."""

from attar.networks.architectures.convnet import ConvNet
from attar.networks.architectures.mlp import MLP

__all__ = ["MLP", "ConvNet"]
