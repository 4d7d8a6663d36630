"""A network of the library timm, without its weights."""

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from torch import nn

from attar.wording import in_a_line

PREFIX = "timm:"


@dataclass(frozen=True)
class TimmModel:
    """Builds a model of timm. It can be sent to another process, and says who it is."""

    name: str
    shape: tuple[int, ...]
    classes: int
    version: str

    @classmethod
    def named(cls, name: str, shape: tuple[int, ...], classes: int) -> "TimmModel":
        """Raises `ValueError` where timm is not installed, or has no such model."""
        return cls(name, shape, classes, import_timm_with(name).__version__)

    @property
    def label(self) -> str:
        return PREFIX + self.name

    @property
    def key(self) -> str:
        # Another version may build another model under the same name.
        return f"{self.label} {self.shape} {self.classes} {self.version}"

    def __call__(self) -> nn.Module:
        timm, (channels, *sides) = import_timm(), self.shape
        about = timm.models.get_pretrained_cfg(self.name)
        # Transformers are built for a size, and by default for that of weights which are not taken here.
        sized = {"img_size": tuple(sides)} if about is not None and about.fixed_input_size else {}
        try:
            return timm.create_model(self.name, pretrained=False, in_chans=channels, num_classes=self.classes, **sized)
        except Exception as error:  # a model of another's may end with anything
            told = f"{self.label} cannot be built for images of shape {self.shape}"
            raise ValueError(f"{told}: {in_a_line(error)}") from None


def find_input(name: str) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
    """Sides, mean and deviation of the pictures that a model's usual weights were trained on.

    Raises `ValueError` where timm is not installed, has no such model, or does not know.
    """
    about = import_timm_with(name).models.get_pretrained_cfg(name)
    if about is None:
        raise ValueError(f"timm has no weights of {name}, and does not know what they would take")
    return about.input_size[1:], about.mean, about.std


def import_timm_with(name: str) -> Any:
    """Raises `ValueError` where timm is not installed, or has no such model."""
    timm = import_timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"timm {timm.__version__} has no model {name!r}{hint}")
    return timm


def import_timm() -> Any:
    """Raises `ValueError` where it is not installed, or does not import."""
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        told = "networks of timm need the package timm: pip install 'attar[timm]'"
        raise ValueError(f"{told} ({in_a_line(error)})") from None
