"""Networks to condense with and to train: each is called with `(shape, classes)` and its own fields."""

from attar.architectures.convnet import ConvNet
from attar.architectures.mlp import MLP

__all__ = ["MLP", "ConvNet"]
