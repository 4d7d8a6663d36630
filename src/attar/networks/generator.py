"""Conditional generators: images of codes and classes, by a small known architecture or a class of the user's file."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.files import hash_file
from attar.networks.architectures.conv_gan import CODES, WIDTH, ConvCritic, ConvGenerator
from attar.networks.pure import Pure
from attar.networks.user_file import UserFile
from attar.networks.weight_file import read_weights
from attar.networks.weights import Weights
from attar.rng import CPU, Rng
from attar.wording import in_a_line

OWN: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "ConvGenerator": ConvGenerator,
    "ConvCritic": ConvCritic,
}


@dataclass(frozen=True)
class Own:
    """Builds Attar's own generator, or the critic to it. It can be sent to another process, and says who it is."""

    label: str
    shape: tuple[int, ...]
    classes: int

    def __call__(self) -> nn.Module:
        return OWN[self.label](self.shape, self.classes)

    @property
    def key(self) -> str:
        return f"{self.label} {(self.shape, self.classes, WIDTH, CODES)}"


@dataclass(frozen=True)
class Generator:
    """A family of conditional generators as a pure function: weights are passed in.

    Its modules have the attributes `codes`, how many numbers a code has, and `classes`. They are called with codes
    `(n, codes)` and classes `(n,)`, and give images on [−1, 1].
    """

    build: Own | UserFile
    pure: Pure

    @classmethod
    def own(cls, shape: tuple[int, ...], classes: int, device: torch.device = CPU) -> "Generator":
        """Attar's own, for images of this shape."""
        build = Own("ConvGenerator", shape, classes)
        return cls(build, Pure(build, device))

    @classmethod
    def of_user(cls, name: str, shape: tuple[int, ...], classes: int) -> "Generator":
        """`file.py:Name`, called as `Name(shape, classes)`.

        Raises `ValueError` where there is none, or it is not for such images and so many classes.
        """
        if ".py:" not in name:
            raise ValueError(f"generator is {name!r}; expected file.py:Name, a class of your own file")
        build = UserFile.named(name, shape, classes)
        family = cls(build, Pure(build))
        family.check()
        return family

    def check(self) -> None:
        """Raises `ValueError` where it does not say what it takes, or gives other images than it is to give."""
        name, told = self.build.label, f"expected {self.build.classes} classes and images of {self.build.shape}"
        for part in ("codes", "classes"):
            if not isinstance(getattr(self.pure.template, part, None), int):
                raise ValueError(
                    f"{name} has no whole number {part!r}: a generator says its codes' length and its classes"
                )
        if self.pure.template.classes != self.build.classes:
            raise ValueError(f"{name} has {self.pure.template.classes} classes; {told}, as the data has")
        try:
            shape = tuple(self.pure.template(*self.empty(2)).shape)
        except Exception as error:
            raise ValueError(f"{name} cannot be called with codes and classes: {in_a_line(error)}") from None
        if shape != (2, *self.build.shape):
            raise ValueError(f"{name} gives images of {shape[1:]}; {told}, as the data has")

    @property
    def name(self) -> str:
        return self.build.label

    @property
    def codes(self) -> int:
        """Numbers in a code."""
        return self.pure.template.codes

    def init(self, rng: Rng) -> Weights:
        """Fresh weights as the module itself draws them."""
        return self.pure.init(rng)

    def images(self, w: Weights, z: Float[Tensor, "n codes"], y: Int[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        """On [0, 1]."""
        return (self.pure.call(w, z, y) + 1) / 2

    def to(self, device: torch.device) -> "Generator":
        """The same family, whose fresh weights are made on `device`."""
        return replace(self, pure=replace(self.pure, device=device))

    @property
    def flop(self) -> int:
        """Floating-point operations of one image."""
        return self.pure.flop(*self.empty(1))

    def empty(self, n: int) -> tuple[Tensor, Tensor]:
        """So many codes and classes without values, for who asks for shapes and costs."""
        with torch.device("meta"):
            return torch.empty(n, self.codes), torch.empty(n, dtype=torch.long)


def make_critic(shape: tuple[int, ...], classes: int, device: torch.device = CPU) -> Pure:
    """The critic to Attar's own generator. It takes images on [−1, 1]: how real each one is, and its class scores."""
    return Pure(Own("ConvCritic", shape, classes), device)


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A generator with its weights. `code` is a hash of the file that these came from."""

    family: Generator
    weights: Weights
    code: str

    @property
    def identity(self) -> str:
        """What a run records of it."""
        return f"{self.family.name}, weights {self.code[:16]}"

    def to(self, device: torch.device) -> "TrainedGenerator":
        """The same on another device."""
        moved = [{name: tensor.to(device) for name, tensor in part.items()} for part in self.weights]
        return replace(self, family=self.family.to(device), weights=Weights(*moved))


def read_generator(name: str, weights: Path | None, shape: tuple[int, ...], classes: int) -> TrainedGenerator:
    """`file.py:Name` with the weights of a file. Raises `ValueError` where one of them is missing, or does not fit."""
    if weights is None:
        raise ValueError(f"generator {name} needs a file of its weights (--generator-weights)")
    family = Generator.of_user(name, shape, classes)
    found = read_weights(family.pure.build(), weights, family.name, CPU)
    return TrainedGenerator(family, found, hash_file(weights))
