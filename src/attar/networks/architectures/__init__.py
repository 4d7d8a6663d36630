"""Networks to condense with and to train: each is called with `(shape, classes)` and its own fields."""

from attar.networks.architectures.alexnet import AlexNet
from attar.networks.architectures.convnet import ConvNet
from attar.networks.architectures.lenet import LeNet
from attar.networks.architectures.mlp import MLP
from attar.networks.architectures.resnet import ResNet18
from attar.networks.architectures.resnet_ap import ResNetAP10
from attar.networks.architectures.vgg import VGG11

__all__ = ["MLP", "VGG11", "AlexNet", "ConvNet", "LeNet", "ResNet18", "ResNetAP10"]
