"""Decoded images in the cache, so that the same files are decoded once."""

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

from attar.data.check import Parts
from attar.data.task import Examples
from attar.files import cache_folder, keep, read_tensors

DECODER = 1  # raise it when the same files give other tensors, so that no cached ones are taken for them


class Kept(NamedTuple):
    """Decoded images with their labels, and the names of those that were left out of the training and the test part."""

    parts: Parts
    left_out: tuple[list[str], list[str]] = ([], [])


def place_decoded(name: str, key: Any) -> Path:
    """Where that is kept which belongs to a key, of which the `repr` counts."""
    digest = hashlib.blake2b(repr((DECODER, key)).encode(), digest_size=8).hexdigest()
    return cache_folder() / "decoded" / f"{name}-{digest}.safetensors"


def load_decoded(path: Path, name: str, state: str = "") -> Kept | None:
    """What `keep_decoded` wrote for this state of the files; nothing where there is none.

    That it is damaged is logged. safetensors maps what it reads: the system may drop an image from memory and read it
    again. The mapping is private, so that the set has to be smaller than the memory.
    """
    try:
        return read_decoded(path, state) if path.exists() else None
    except (ValueError, OSError) as error:
        logging.getLogger("attar").warning(f"{error}: {name} is decoded anew")
        return None


def keep_decoded(path: Path, kept: Kept, state: str = "") -> None:
    train, test = kept.parts.train, kept.parts.test
    parts = {"train": train} if test is None else {"train": train, "test": test}
    tensors = {f"{part}.{name}": x for part, examples in parts.items() for name, x in examples.tensors.items()}
    keep(path, tensors, {"classes": kept.parts.classes, "left_out": kept.left_out, "state": state})


def read_decoded(path: Path, state: str) -> Kept | None:
    """Raises `ValueError` where the file is damaged."""
    tensors, meta = read_tensors(path)
    if meta.get("state", "") != state:
        return None
    try:
        train = Examples(tensors["train.x"], tensors["train.y"])
        test = Examples(tensors["test.x"], tensors["test.y"]) if "test.x" in tensors else None
        train_out, test_out = meta.get("left_out", ([], []))  # which earlier versions did not write
        return Kept(Parts(train, test, tuple(meta["classes"])), (train_out, test_out))
    except KeyError as error:
        raise ValueError(f"{path} holds no decoded images: no {error}") from None
