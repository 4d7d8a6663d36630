"""Mean and deviation of images: measured once, and kept in the cache under the hash of what was measured."""

import logging
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from attar.data.normalisation import Normalisation
from attar.data.on_disk import pieces
from attar.files import DamagedFile, cache_folder, hash_json, read_json, write_json

SMALL = 10 << 20  # bytes that are measured in less than half a second, which no file in a cache is worth


def measure(x: Shaped[Tensor, "n c h w"], fingerprint: str) -> Normalisation:
    """What brings each channel to mean 0 and deviation 1.

    `fingerprint` is a hash of the values. Measuring takes ten times as long as hashing them, so that what was found for
    large sets is cached. A damaged entry is measured anew, and that is logged.
    """
    if x.nbytes < SMALL:
        return Normalisation(*moments(x))
    path = cache_folder() / "measured" / f"{fingerprint}.json"
    try:
        if path.exists():
            return read_measured(path)
    except (ValueError, OSError) as error:
        logging.getLogger("attar").warning(f"{error}: the images are measured anew")
    mean, std = moments(x)
    facts = {"mean": mean, "std": std}
    with suppress(OSError):  # a cache that cannot be written only costs time
        write_json(path, facts | {"checksum": hash_json(facts)})
    return Normalisation(mean, std)


def read_measured(path: Path) -> Normalisation:
    """Raises `ValueError` where the file is damaged."""
    facts = read_json(path)
    told = facts.pop("checksum", None) if isinstance(facts, dict) else None
    if told != hash_json(facts):
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum")
    return Normalisation(tuple(facts["mean"]), tuple(facts["std"]))


def moments(x: Shaped[Tensor, "n c h w"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on [0, 1]; the deviation is at least 0.001, as one divides by it."""
    total = torch.zeros(2, x.shape[1], dtype=torch.float64)  # over 1e8 values float32 would lose digits
    for some in pieces(x):
        values = x[some].contiguous().double() / (255 if x.dtype == torch.uint8 else 1)
        total += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    mean, square = total / (x.numel() / x.shape[1])
    return tuple(mean.tolist()), tuple((square - mean**2).clamp(min=1e-6).sqrt().tolist())
