"""Known data sets: what the literature assumes of them, and reading them where their files lie."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np

from attar import archives, parquet
from attar.arrays import Given, Parts, parts
from attar.files import read_tensors, write_tensors
from attar.task import Examples, moments

DECODER = 1  # raise it when the same files give other tensors, so that no cached ones are taken for them
STRAY = 0.03  # how far a measured mean may lie from the literature's; data sets differ by more


@dataclass(frozen=True)
class Known:
    """`mean` and `std` as the literature normalises; `source` is torchvision's class, `folders` are those of Parquet copies."""

    title: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    flip: bool
    source: str | None
    folders: tuple[str, ...] = ()
    note: str = ""
    test_share: float = 0.1

    @property
    def about(self) -> str:
        c, h, w = self.shape
        return f"{self.title}: {self.note}, {h}x{w} {'grey' if c == 1 else 'colour'}"


GREY, COLOUR = (1, 28, 28), (3, 32, 32)
DATASETS = {
    "digits": Known("Digits", (1, 8, 8), None, None, False, None, note="1,797 handwritten digits, no files needed", test_share=0.2),
    "mnist": Known("MNIST", GREY, (0.1307,), (0.3081,), False, "MNIST", ("mnist",), "70,000 handwritten digits"),
    "fashion-mnist": Known(
        "Fashion-MNIST",
        GREY,
        (0.2861,),
        (0.3530,),
        True,
        "FashionMNIST",
        ("fashion-mnist", "fashion_mnist"),
        "70,000 articles of clothing, 10 classes",
    ),
    "svhn": Known(
        "SVHN",
        COLOUR,
        (0.4377, 0.4438, 0.4728),
        (0.1980, 0.2010, 0.1970),
        False,
        "SVHN",
        ("svhn", "cropped_digits"),
        "99,289 house-number digits",
    ),
    "cifar10": Known(
        "CIFAR-10",
        COLOUR,
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
        True,
        "CIFAR10",
        ("cifar10",),
        "60,000 photographs, 10 classes",
    ),
    "cifar100": Known(
        "CIFAR-100",
        COLOUR,
        (0.5071, 0.4866, 0.4409),
        (0.2673, 0.2564, 0.2762),
        True,
        "CIFAR100",
        ("cifar100",),
        "60,000 photographs, 100 classes",
    ),
}
