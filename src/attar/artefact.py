"""The condensed set: what a method makes, what is stored, and what anyone can load."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import TensorDataset

from attar.files import read_json, read_tensors, write_json, write_tensors
from attar.kernels import products
from attar.task import per_channel

if TYPE_CHECKING:
    from attar.task import Task

FORMAT = 1
TENSORS, MANIFEST, REQUEST = "condensed.safetensors", "recipe.json", "run.json"


@dataclass(frozen=True, eq=False)
class CondensedSet:
    """Stored images and the transform that makes them network-ready.

    `images` are as learned: on [0, 1] where `space` is `"unit"`, normalised by `mean` and `std` where it is
    `"normalised"`. Each holds `factor`² tiles, which decoding enlarges to images of the full side. `soft` are probabilities
    of the classes, a row for each decoded image, where a teacher gave them.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    factor: int = 1
    space: str = "unit"
    provenance: dict[str, Any] = field(default_factory=dict)
    soft: Float[Tensor, "m k"] | None = None

    @classmethod
    def of(cls, task: "Task", images: Tensor, labels: Tensor, *, factor: int = 1, space: str = "unit") -> "CondensedSet":
        return cls(images, labels, task.classes, task.mean, task.std, factor, space)

    @classmethod
    def selected(cls, task: "Task", indices: Int[Tensor, "k ipc"]) -> "CondensedSet":
        """Real images, named by their training indices, which the provenance keeps."""
        from attar.task import unit

        chosen = indices.flatten()
        made = cls.of(task, unit(task.raw(chosen)).cpu(), task.train.y[chosen].cpu())
        return dataclasses.replace(made, provenance={"indices": chosen.tolist()})

    @classmethod
    def whole(cls, task: "Task") -> "CondensedSet":
        """All training images, to compare with."""
        from attar.task import unit

        return dataclasses.replace(cls.of(task, unit(task.train.x).cpu(), task.train.y.cpu()), provenance={"method": "whole set"})

    @classmethod
    def concat(cls, sets: Sequence["CondensedSet"]) -> "CondensedSet":
        """Shards of one run (by classes) as one set, in the order of labels. Raises `ValueError` where they do not fit."""
        if not sets:
            raise ValueError("there are no sets to join")
        first = sets[0]
        for other in sets[1:]:
            for name in ("classes", "mean", "std", "factor", "space"):
                if getattr(other, name) != getattr(first, name):
                    raise ValueError(f"the sets differ in {name}: {getattr(first, name)} and {getattr(other, name)}")
            if (other.soft is None) != (first.soft is None):
                raise ValueError("some of the sets have soft labels, others have none")
        images, labels = torch.cat([s.images for s in sets]), torch.cat([s.labels for s in sets])
        order, soft = labels.argsort(stable=True), None
        if first.soft is not None:
            tiles = torch.cat([s.soft.unflatten(0, (first.factor**2, -1)) for s in sets if s.soft is not None], 1)
            soft = tiles[:, order].flatten(0, 1)
        about = {"shards": [s.provenance for s in sets]}
        return dataclasses.replace(first, images=images[order], labels=labels[order], provenance=about, soft=soft)

    @property
    def ipc(self) -> int:
        """Stored images of the best-represented class."""
        return int(self.labels.bincount().max())

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes of the float images and labels as stored, of the decoded 8-bit images uncompressed, and of soft labels."""
        decoded = self.images.numel() * self.factor**2
        soft = 0 if self.soft is None else self.soft.nbytes
        return {"stored": self.images.nbytes + self.labels.nbytes, "eight_bit": decoded, "soft": soft}

    def decoded(self) -> Float[Tensor, "m c h w"]:
        """Full-size images in normalised units."""
        images = self.images
        if self.space == "unit":
            images = (images - self._channels(self.mean)) / self._channels(self.std)
        return decode(images, self.factor, [(0.5 - m) / s for m, s in zip(self.mean, self.std, strict=True)])

    def decoded_labels(self) -> Int[Tensor, " m"]:
        return self.labels.repeat(self.factor**2)

    def pictures(self) -> UInt8[Tensor, "m c h w"]:
        """Decoded images at 8 bit, for eyes and for files."""
        unit = self.decoded() * self._channels(self.std) + self._channels(self.mean)
        return (unit.clamp(0, 1) * 255).round().to(torch.uint8)

    def as_dataset(self, *, eight_bit: bool = False, soft: bool = False) -> TensorDataset:
        """Network-ready images and labels: train on them with no further transform.

        `eight_bit` gives what the 8-bit images give, after the same normalisation; `soft` gives probabilities as labels, which
        `torch.nn.functional.cross_entropy` takes as well. Raises `ValueError` where there are none.
        """
        labels = self.soft if soft else self.decoded_labels()
        if labels is None:
            raise ValueError("the set has no soft labels")
        images = self.decoded()
        if eight_bit:
            images = (self.pictures().float() / 255 - self._channels(self.mean)) / self._channels(self.std)
        return TensorDataset(images, labels)

    def _channels(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=self.images.dtype)[:, None, None]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the artefact: tensors, 8-bit images by class, contact sheet, card, and last the manifest.

        Raises `ValueError` where the folder holds other files, or another set that is not to be replaced (`overwrite`).
        """
        from attar.card import write_card, write_pictures

        folder = Path(folder)
        claim(folder)
        if (folder / MANIFEST).exists() and not overwrite:
            raise ValueError(f"{folder} already holds a condensed set: save(..., overwrite=True) replaces it")
        (folder / MANIFEST).unlink(missing_ok=True)  # an earlier set's must not stand beside these tensors
        meta = {name: getattr(self, name) for name in ("classes", "mean", "std", "factor", "space")}
        tensors = {"images": self.images, "labels": self.labels} | ({} if self.soft is None else {"soft": self.soft})
        write_tensors(folder / TENSORS, tensors, meta)
        write_pictures(self, folder)
        write_card(self, folder)
        checksum = sha256(folder / TENSORS)
        write_json(folder / MANIFEST, {"format": FORMAT, "sha256": checksum, "bytes": self.bytes, **self.provenance})
        return folder


def claim(folder: Path, marks: Sequence[str] = (MANIFEST, REQUEST)) -> None:
    """Raises `ValueError` where the folder is none, or holds files but none of the `marks`: by default a set, or the beginning of a run."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder")
    others = folder.exists() and any(not path.name.endswith((".lock", ".part")) for path in folder.iterdir())
    if others and not any(found for mark in marks for found in folder.glob(mark)):
        raise ValueError(f"{folder} holds files that are no run's: name a new folder")


def load(folder: str | Path) -> CondensedSet:
    """The artefact of a run's folder. Raises `ValueError` where there is none, or a damaged one, or one of another version."""
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        what = "an unfinished run: resume it first" if (folder / REQUEST).exists() else "no condensed set"
        raise ValueError(f"{folder} holds {what} (no {MANIFEST})")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not {"format", "sha256"} <= manifest.keys():
        raise ValueError(f"{folder / MANIFEST} was not written by attar")
    if manifest["format"] != FORMAT:
        raise ValueError(f"{folder} has format {manifest['format']}; this attar reads format {FORMAT}")
    if not (folder / TENSORS).is_file():
        raise ValueError(f"no such file: {folder / TENSORS}")
    if sha256(folder / TENSORS) != manifest["sha256"]:
        raise ValueError(f"{folder / TENSORS} is damaged, or another set's: its checksum is not the one in {MANIFEST}")
    tensors, meta = read_tensors(folder / TENSORS)
    provenance = {key: value for key, value in manifest.items() if key not in ("format", "sha256", "bytes")}
    classes, mean, std = (tuple(meta[name]) for name in ("classes", "mean", "std"))
    return CondensedSet(**tensors, classes=classes, mean=mean, std=std, factor=meta["factor"], space=meta["space"], provenance=provenance)


def decode(x: Float[Tensor, "n c h w"], factor: int, padding: Sequence[float]) -> Float[Tensor, "m c h w"]:
    """Each image's `factor`² tiles, enlarged bilinearly to its full size; all first tiles, then all second ones.

    Where `factor` does not divide a side, the right and bottom are filled with `padding`, one value a channel.
    Linear in `x`, but for the padding (IDC, Kim et al., ICML 2022).
    """
    if factor == 1:
        return x
    h, w = x.shape[-2:]
    rows, columns = math.ceil(h / factor), math.ceil(w / factor)
    if (factor * rows, factor * columns) != (h, w):
        canvas = per_channel(padding, x).expand(len(x), -1, factor * rows, factor * columns)
        x = torch.cat([torch.cat([x, canvas[..., :h, w:]], 3), canvas[..., h:, :]], 2)
    tiles = x.unflatten(3, (factor, columns)).unflatten(2, (factor, rows)).permute(2, 4, 0, 1, 3, 5)
    return enlarged(tiles.flatten(0, 2), h, w)


def enlarged(x: Float[Tensor, "n c r s"], h: int, w: int) -> Float[Tensor, "n c h w"]:
    """Bilinear interpolation as two products, whose transpose is two products as well: torch's own adds up in any order on a GPU."""
    rows, columns = (interpolation(*sides, x.device, x.dtype) for sides in ((x.shape[2], h), (x.shape[3], w)))
    return products(rows, products(columns, x))


@functools.cache
def interpolation(few: int, many: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "m f"]:
    """Row i holds the weights of `few` pixels in the i-th of `many`; linear, as their centres lie."""
    hats = F.interpolate(torch.eye(few, dtype=torch.float64)[None], size=many, mode="linear", align_corners=False)
    return hats[0].T.to(device, dtype)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
