"""The generator that gives a set's images, as the set keeps it: numbers alone, and the name of what runs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.validate import DECODER, TEXT, check_dense, check_floats, find_largest, is_a, quote
from attar.networks.generator import Generator
from attar.networks.weights import Weights


@dataclass(frozen=True, eq=False)
class Decoder:
    """A generator's name and weights, and the code of each image, where codes were learned.

    Without codes the generator itself was, and the images are samples of it.
    """

    name: str
    weights: dict[str, Tensor]
    codes: Float[Tensor, "n d"] | None = None

    # Run-time checks of types would come before the sentences of `check_decoder`.
    __no_type_check__ = True

    @classmethod
    def of(cls, family: Generator, w: Weights, codes: Tensor | None = None) -> "Decoder":
        """A copy in the memory of the host."""
        weights = {name: tensor.detach().cpu().clone() for part in w for name, tensor in part.items()}
        return cls(family.name, weights, codes)

    @property
    def bytes(self) -> int:
        """Of the weights and the codes, uncompressed."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them."""
        weights = {f"{DECODER}{name}": tensor for name, tensor in self.weights.items()}
        return weights if self.codes is None else weights | {"codes": self.codes}

    def generator(self, shape: tuple[int, ...], classes: int) -> tuple[Generator, Weights]:
        """What runs it. Raises `ValueError` for a user's own, whose code no set holds."""
        family = Generator.own(shape, classes)
        if self.name != family.name:
            told = f"its generator {self.name} is of a user's own file, whose code no set holds"
            raise ValueError(f"{told}: only the images that it gave are there")
        return family, Weights(self.weights, {})


def read_decoder(tensors: dict[str, Any], name: Any) -> Decoder:
    """From the parts of a file."""
    weights = {key.removeprefix(DECODER): tensor for key, tensor in tensors.items() if key.startswith(DECODER)}
    return Decoder(name, weights, tensors.get("codes"))


def join(decoders: Sequence[Decoder | None], order: Int[Tensor, " n"]) -> Decoder | None:
    """That of sets which are joined, with all their codes in a new order. Raises `ValueError` where they differ."""
    first, *others = decoders
    for other in others:
        if (first is None) != (other is None) or (first and other and not are_alike(first, other)):
            raise ValueError("the sets differ in their decoders")
    codes = [decoder.codes for decoder in decoders if decoder is not None and decoder.codes is not None]
    return replace(first, codes=torch.cat(codes)[order]) if first is not None and codes else first


def are_alike(a: Decoder, b: Decoder) -> bool:
    """Whether they are one generator, whatever their codes."""
    same = a.name == b.name and a.weights.keys() == b.weights.keys() and (a.codes is None) == (b.codes is None)
    return same and all(torch.equal(tensor, b.weights[name]) for name, tensor in a.weights.items())


def check_decoder(decoder: Any, images: tuple[int, ...], classes: int) -> None:
    """Weights with finite numbers, a code for each image, and Attar's own generator as such images and classes want it.

    Raises `ValueError` where a part is not so.
    """
    if not isinstance(decoder, Decoder) or not is_a(decoder.name, TEXT) or not decoder.weights:
        raise ValueError(f"the decoder is {quote(decoder)}; expected a generator's name and weights")
    for name, tensor in decoder.weights.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"the decoder's {quote(name)} is {quote(tensor)}; expected a tensor")
        check_dense(tensor, f"values of the decoder's {quote(name)}")
        if tensor.numel():
            find_largest(tensor, f"values of the decoder's {quote(name)}")
    if decoder.codes is not None:
        check_floats(decoder.codes, "codes")
        if decoder.codes.ndim != 2 or len(decoder.codes) != images[0]:
            told = f"expected ({images[0]}, length), one for each image"
            raise ValueError(f"the codes have the shape {tuple(decoder.codes.shape)}; {told}")
        find_largest(decoder.codes, "codes")
    family = Generator.own(images[1:], classes)
    if decoder.name == family.name:
        check_own(decoder, family, classes)


def check_own(decoder: Decoder, family: Generator, classes: int) -> None:
    """Raises `ValueError` for weights of a generator of other images or of another number of classes."""
    expected = {name: tuple(p.shape) for name, p in family.pure.template.named_parameters()}
    found = {name: tuple(tensor.shape) for name, tensor in decoder.weights.items()}
    shape = "×".join(map(str, family.build.shape))
    for name in expected | found:
        if expected.get(name) != found.get(name):
            told = f"its {quote(name)} has the shape {found.get(name)}, and not {expected.get(name)}"
            raise ValueError(f"the decoder is no generator of {shape} images of {classes} classes: {told}")
    if decoder.codes is not None and decoder.codes.shape[1] != family.codes:
        raise ValueError(f"the codes have {decoder.codes.shape[1]} numbers each; the decoder takes {family.codes}")
