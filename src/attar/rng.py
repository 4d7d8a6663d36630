"""Randomness as a path: the same path gives the same bits, wherever and whenever it is walked."""

import hashlib
import operator
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, SupportsIndex

import torch

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Rng:
    """An immutable path such as `(0, "episode", 7)`; everything random in Attar draws from one.

    Two different paths give independent streams. Drawing consumes nothing. So the order in which parts of a program
    draw never matters, and a resumed run needs no generator state.
    """

    path: tuple[int | str, ...]

    @classmethod
    def of(cls, seed: SupportsIndex) -> "Rng":
        """The path of a seed alone: 1, `True` and NumPy's 1 are the same."""
        return cls((int(operator.index(seed)),))

    def fold(self, *parts: SupportsIndex | str) -> "Rng":
        """The path with `parts` appended: names, and whole numbers of any type. Raises `ValueError` for all else."""
        return Rng(self.path + tuple(map(plain, parts)))

    @property
    def seed(self) -> int:
        """63 bits of the path's hash."""
        # Not hash(), which differs from process to process; and repr, which tells 1 from "1".
        digest = hashlib.blake2b(repr(self.path).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1  # so that it fits a signed integer of 64 bits

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh generator on `device`, at the start of this path's stream."""
        return torch.Generator(device).manual_seed(self.seed)

    @contextmanager
    def scope(self, device: torch.device | str = "cpu") -> Iterator[None]:
        """Lend this stream to torch's global generators, where torch takes no generator, and give theirs back."""
        device = torch.device(device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Not manual_seed, which seeds every GPU: only the states that fork_rng holds are given back.
            torch.random.set_rng_state(self.generator().get_state())
            if device.type == "cuda":
                torch.cuda.set_rng_state(self.generator(device).get_state(), device)
            yield


def plain(part: Any) -> int | str:
    """A part of a path as Python's own type: 1, `True` and NumPy's 1 lead to the same stream."""
    if isinstance(part, str):
        return str(part)
    try:
        return int(operator.index(part))  # int, as True is its own index
    except TypeError:
        told = "a part of a random path must be a name or a whole number"
        raise ValueError(f"{told}, not {reprlib.repr(part)}") from None
