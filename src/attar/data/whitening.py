"""ZCA whitening: networks see images whose pixels hardly correlate any more."""

import hashlib
import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from attar.data.normalisation import Normalisation, unit
from attar.data.on_disk import pieces
from attar.engine.exact import products
from attar.files import cache_folder, keep, read_tensors

EPS = 0.1
LARGEST = 4096  # numbers an image: its matrix of 67 MB is decomposed in under a minute
VERSION = 1  # of how it is measured: with another, those in the cache are not taken


@dataclass(frozen=True, eq=False)  # the == of two tensors is a tensor, no answer
class Whitening:
    """(x − μ) W of images on [0, 1] as rows of d = c·h·w numbers, and back. Another `Normalisation`.

    μ is the mean of n training images. Of their covariance XᵀX / (n − 1) = U diag(s) Uᵀ, with X the images less μ, the
    matrix is W = U diag((s + ε)^-½) Uᵀ, and W⁻¹ = U diag((s + ε)^½) Uᵀ. So kornia's `ZCAWhitening` has it, with which
    the authors of MTT whiten (ε = 0.1). `plain` is what networks see where images are not whitened.
    """

    plain: Normalisation
    mean: Float[Tensor, "c h w"]
    matrix: Float[Tensor, "d d"]
    eps: float = EPS

    # Run-time checks of types, where one has switched them on, would come before those of a condensed set.
    __no_type_check__ = True

    def to_network(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        """From [0, 1] to what networks see. Raises `ValueError` for images of another shape."""
        if x.shape[-3:] != self.mean.shape:
            told = f"the images are of the shape {tuple(x.shape[-3:])}"
            raise ValueError(f"{told}; the whitening is for {tuple(self.mean.shape)}")
        return self._map(x - self.mean.to(x), self.matrix)

    def to_pixels(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        """From what networks see to [0, 1], and beyond where an image is."""
        return self._map(x, self.inverse) + self.mean.to(x)

    def to(self, device: torch.device) -> "Whitening":
        """The same on another device. Images on any device are taken; this spares the copy each time."""
        if device == self.matrix.device:
            return self
        return replace(self, mean=self.mean.to(device), matrix=self.matrix.to(device))

    @cached_property
    def inverse(self) -> Float[Tensor, "d d"]:
        """W⁻¹ in float64. Raises `ValueError` where W is not positive definite, as no whitening matrix then is."""
        factor, fault = torch.linalg.cholesky_ex(self.matrix.double())
        if fault:
            raise ValueError("the whitening matrix is not positive definite")
        return torch.cholesky_inverse(factor)

    @property
    def grey(self) -> tuple[float, ...]:
        """The mean image as networks see it, a number a channel: mid grey is none when it is whitened."""
        return (0.0,) * len(self.mean)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from others; JSON can hold it."""
        return "ZCA", self.eps, self._hash, *self.plain.identity

    @property
    def remark(self) -> str:
        """What a row says of it."""
        return "ZCA"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those that a file keeps of it."""
        return {"whitening": self.matrix, "mean_image": self.mean}

    @property
    def entries(self) -> dict[str, Any]:
        """What a file keeps of it beside its tensors."""
        return self.plain.entries | {"eps": self.eps}

    def describe(self) -> str:
        """For a reader."""
        return f"whitened (ZCA, ε = {self.eps:g}): less the mean image, times the matrix `whitening` of that file"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Whitening) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process it goes without what can be computed there."""
        return Whitening, (self.plain, self.mean, self.matrix, self.eps)

    def __repr__(self) -> str:
        return f"ZCA with ε = {self.eps:g} and the matrix {self._hash[:8]}"

    def _map(self, x: Float[Tensor, "*n c h w"], matrix: Float[Tensor, "d d"]) -> Float[Tensor, "*n c h w"]:
        with torch.autocast(x.device.type, enabled=False):  # never rounded, as a network's own products may be
            return products(x.reshape(-1, len(matrix)), matrix.to(x)).view(x.shape)  # the matrices are symmetric

    @cached_property
    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for tensor in self.tensors.values():
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


AnyNormalisation = Normalisation | Whitening


def whiten(x: Shaped[Tensor, "n c h w"], fingerprint: str, plain: Normalisation, eps: float = EPS) -> Whitening:
    """What whitens images like these training images.

    `fingerprint` is a hash of them: what takes longest is measured once, and kept in the cache under it. Raises
    `ValueError` where there are fewer than two images, or they are too large for a matrix of all their pixels.
    """
    check(x)
    path = cache_folder() / "measured" / f"{fingerprint}-zca{VERSION}-{eps:g}.safetensors"
    try:
        if path.exists():
            tensors, _ = read_tensors(path)
            return Whitening(plain, tensors["mean_image"], tensors["whitening"], eps)
    except (ValueError, OSError) as error:
        logging.getLogger("attar").warning(f"{error}: the whitening is measured anew")
    found = measure_whitening(x, plain, eps)
    keep(path, found.tensors, {})
    return found


def check(x: Shaped[Tensor, "n c h w"]) -> None:
    """Raises `ValueError` for images that cannot be whitened."""
    d = math.prod(x.shape[1:])
    if d > LARGEST:
        told = f"whitening takes images of at most {LARGEST:,} numbers, and these have {d:,}"
        raise ValueError(f"{told}: a matrix of {4 * d * d / 1e6:,.0f} MB would go with each set")
    if len(x) < 2:
        raise ValueError(f"whitening needs at least two training images, and there is {len(x)}")


def measure_whitening(x: Shaped[Tensor, "n c h w"], plain: Normalisation, eps: float = EPS) -> Whitening:
    """Of these images, in float64; rounded to float32, as a file keeps it."""
    mean, covariance = find_moments(x)
    s, u = torch.linalg.eigh(covariance)
    matrix = (u * (s.clamp(min=0) + eps).rsqrt()) @ u.mT
    matrix = (matrix + matrix.mT) / 2  # symmetric to the last bit
    return Whitening(plain, mean.view(x.shape[1:]).float().cpu(), matrix.float().cpu(), eps)


def find_moments(x: Shaped[Tensor, "n c h w"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Mean and covariance of the images on [0, 1] as rows of numbers, a few thousand images at a time."""
    d = math.prod(x.shape[1:])
    total, square = (torch.zeros(size, dtype=torch.float64, device=x.device) for size in ((d,), (d, d)))
    for some in pieces(x):
        rows = unit(x[some]).flatten(1).double()
        total += rows.sum(0)
        square.addmm_(rows.mT, rows)
    mean = total / len(x)
    return mean, (square - len(x) * mean.outer(mean)) / (len(x) - 1)
