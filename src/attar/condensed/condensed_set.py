"""The condensed set: what a method makes, what is stored, and what anyone can load."""

import base64
import dataclasses
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import TensorDataset

from attar.condensed.decoder import Decoder, check_decoder, join, read_decoder
from attar.condensed.pictures import encode_preview
from attar.condensed.steps import Steps, check_steps, read_steps
from attar.condensed.tables import draw_rows
from attar.condensed.tiles import check_factor, check_whole, join_rows, unpack_tiles
from attar.condensed.validate import (
    check_classes,
    check_columns,
    check_images,
    check_labels,
    check_parts,
    check_provenance,
    check_rows,
    check_step_size,
    read_columns,
)
from attar.condensed.validate_normalisation import check_normalisation, read_normalisation
from attar.data.normalisation import unit
from attar.data.table import Columns, name_labels, restore
from attar.data.task import Task
from attar.data.whitening import AnyNormalisation
from attar.distances.ridge import centred
from attar.engine.ambient import plain_torch
from attar.wording import make_visible


@dataclass(frozen=True, eq=False)  # the == of two tensors is a tensor, no answer
class CondensedSet:
    """Stored images and the transform that makes them network-ready.

    `images` are as learned: on [0, 1] where `space` is `"unit"`, as networks see them where it is `"normalised"`. Each
    holds `factor`² tiles, which decoding enlarges to images of the full side. `soft` is a row for each decoded image:
    probabilities of the classes, where a teacher gave them, or learned labels. `targets` is another one: what a
    network's scores should be, of any sign, where labels were learned by regression. `columns` are those of a table,
    one for each channel of its rows, which are images of one pixel here. `step_size` is SGD's, where it was learned
    with the images. `steps` are those of a whole training that was learned with them. `decoder` is the generator that
    gives the images, where codes of one were learned, or it itself.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    normalisation: AnyNormalisation
    factor: int = 1
    space: str = "unit"
    provenance: dict[str, Any] = field(default_factory=dict)
    soft: Float[Tensor, "m k"] | None = None
    columns: Columns | None = None
    step_size: float | None = None
    targets: Float[Tensor, "m k"] | None = None
    steps: Steps | None = None
    decoder: Decoder | None = None

    # Run-time checks of types, where one has switched them on, would come before `check` and its sentences.
    __no_type_check__ = True

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises `ValueError` where a part is of another type, shape or range than it may be, or two do not fit.

        This is done whenever a set is made. What changes within a tensor or the provenance afterwards is not seen.
        """
        check_classes(self.classes)
        check_images(self.images, self.space)
        check_labels(self.labels, len(self.images), self.classes)
        check_normalisation(self.normalisation, tuple(self.images.shape[1:]))
        check_factor(self.factor, self.images.shape[2:])
        check_whole(self.normalisation, self.factor)
        for rows, what in ((self.soft, "soft labels"), (self.targets, "targets")):
            if rows is not None:
                check_rows(rows, what, len(self.images) * self.factor**2, len(self.classes))
        if self.columns is not None:
            check_columns(self.columns, tuple(self.images.shape[1:]))
        if self.step_size is not None:
            check_step_size(self.step_size)
        if self.steps is not None:
            check_steps(self.steps, len(self.images), self.factor)
        if self.decoder is not None:
            check_decoder(self.decoder, tuple(self.images.shape), len(self.classes))
        check_provenance(self.provenance)

    @classmethod
    def stored(cls, tensors: dict[str, Any], entries: dict[str, Any], provenance: dict[str, Any]) -> "CondensedSet":
        """A set from what a file holds: its tensors, the entries beside them, and a provenance.

        Raises `ValueError` where it is none.
        """
        check_parts(tensors, entries)
        parts: dict[str, Any] = {name: entries[name] for name in ("factor", "space", "step_size") if name in entries}
        parts |= {name: tensors[name] for name in ("images", "labels", "soft", "targets") if name in tensors}
        parts |= {"classes": tuple(entries["classes"]), "normalisation": read_normalisation(tensors, entries)}
        parts["columns"] = read_columns(entries["columns"]) if "columns" in entries else None
        parts["decoder"] = read_decoder(tensors, entries["decoder"]) if "decoder" in entries else None
        return cls(**parts, steps=read_steps(tensors), provenance=provenance)

    @classmethod
    def of(
        cls,
        task: Task,
        images: Tensor,
        labels: Tensor,
        *,
        factor: int = 1,
        space: str = "unit",
        soft: Tensor | None = None,
        decoder: Decoder | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> "CondensedSet":
        """A set of the task's classes, in its normalisation."""
        normalisation = task.normalisation.to(images.device)
        about = task.classes, normalisation, factor, space, provenance or {}, soft, task.columns
        return cls(images, labels, *about, decoder=decoder)

    @classmethod
    def selected(cls, task: Task, indices: Int[Tensor, "*k"]) -> "CondensedSet":
        """Real images, named by their training indices, which the provenance keeps."""
        chosen = indices.flatten()
        images, labels = unit(task.raw(chosen)).cpu(), task.train.y[chosen].cpu()
        return cls.of(task, images, labels, provenance={"indices": chosen.tolist()})

    @classmethod
    @plain_torch()
    def whole(cls, task: Task) -> "CondensedSet":
        """All training images, to compare with."""
        return cls.of(task, unit(task.train.x).cpu(), task.train.y.cpu(), provenance={"method": "whole set"})

    @classmethod
    @plain_torch()
    def concat(cls, sets: Sequence["CondensedSet"]) -> "CondensedSet":
        """Shards of one run (by classes) as one set, in the order of labels.

        Raises `ValueError` where they do not fit.
        """
        if not sets:
            raise ValueError("there are no sets to join")
        if any(part.steps for part in sets):
            raise ValueError("sets with learned steps cannot be joined: each is a training of its own")
        first = sets[0]
        for other in sets[1:]:
            for name in ("classes", "normalisation", "factor", "space", "columns", "step_size"):
                if getattr(other, name) != getattr(first, name):
                    raise ValueError(f"the sets differ in {name}: {getattr(first, name)} and {getattr(other, name)}")
        images, labels = torch.cat([s.images for s in sets]), torch.cat([s.labels for s in sets])
        order = labels.argsort(stable=True)
        rows: dict[str, Any] = {
            name: join_rows([getattr(s, name) for s in sets], what, first.factor, order)
            for name, what in (("soft", "soft labels"), ("targets", "targets"))
        }
        about = {"shards": [s.provenance for s in sets]}
        rows["decoder"] = join([s.decoder for s in sets], order)
        return dataclasses.replace(first, images=images[order], labels=labels[order], provenance=about, **rows)

    @property
    def ipc(self) -> int | None:
        """Stored images of the best-represented class; `None` where the method found itself how many there are."""
        if self.provenance.get("ipc", 0) is None:
            return None
        return int(self.labels.bincount().max())  # no mean, as a shard has no images of some classes

    @property
    def each(self) -> str:
        """Stored images a class, for a reader: `10`, or `3 to 61` where classes have different numbers."""
        counts = self.labels.bincount()
        low, high = counts[counts > 0].aminmax()  # a shard has no images of some classes
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes of the float images, labels and steps as stored, of the decoded 8-bit images, of what else there is.

        All are uncompressed. Who trains on soft labels, on targets or on whitened images needs those bytes too. Where a
        decoder gives the images, what is stored is the decoder and the codes. Labels of its samples count nothing.
        """
        decoded = self.images.numel() * self.factor**2
        soft, targets = (0 if rows is None else rows.nbytes for rows in (self.soft, self.targets))
        whitening = sum(tensor.nbytes for tensor in self.normalisation.tensors.values())
        learned = self.images.nbytes if self.decoder is None else self.decoder.bytes
        labels = 0 if self.generative else self.labels.nbytes
        stored = learned + labels + (self.steps.bytes if self.steps else 0)
        return {"stored": stored, "eight_bit": decoded, "soft": soft, "targets": targets, "whitening": whitening}

    @plain_torch()
    def renormalised(self, normalisation: AnyNormalisation) -> "CondensedSet":
        """The same images under another normalisation, and the set itself where it has that one."""
        if normalisation == self.normalisation:
            return self
        images = self.images
        if self.space == "normalised":
            images = normalisation.to_network(self.normalisation.to_pixels(images))
        return dataclasses.replace(self, images=images, normalisation=normalisation)

    @plain_torch()
    def decoded(self) -> Float[Tensor, "m c h w"]:
        """Full-size images in normalised units."""
        images = self.images.float()  # those of a user may be float64, which no network takes
        if self.space == "unit":
            images = self.normalisation.to_network(images)  # before unpacking, whose padding is normalised too
        return unpack_tiles(images, self.factor, self.normalisation.grey)

    def decoded_labels(self) -> Int[Tensor, " m"]:
        """Of the images as `decoded` gives them."""
        return self.labels.repeat(self.factor**2)  # all first tiles, then all second ones, as images are unpacked

    @property
    def generative(self) -> bool:
        """Whether what was learned is a generator, of which the images are samples."""
        return self.decoder is not None and self.decoder.codes is None

    @property
    def called(self) -> str:
        """What a reader calls one of its examples."""
        return "image" if self.columns is None else "row"

    @plain_torch()
    def table(self) -> dict[str, np.ndarray]:
        """The columns of a table by name, in their own units, and the classes by name.

        Raises `ValueError` for a set of images.
        """
        if self.columns is None:
            raise ValueError("this is a set of images, and no table")
        found = restore(self.columns, self.normalisation.to_pixels(self.decoded()))
        return found | {name_labels(found): np.array(self.classes)[self.decoded_labels().numpy()]}

    @plain_torch()
    def pictures(self) -> UInt8[Tensor, "m c h w"]:
        """Decoded images at 8 bit, for eyes and for files."""
        return (self.normalisation.to_pixels(self.decoded()).clamp(0, 1) * 255).round().to(torch.uint8)

    def first(self, most: int, most_classes: int) -> "CondensedSet":
        """The first `most` stored images of each of the first `most_classes` classes that have some, to be looked at.

        Soft labels, targets, steps and a decoder are left out.
        """
        classes = self.labels.unique()[:most_classes]
        rows = torch.cat([(self.labels == c).nonzero()[:most, 0] for c in classes])
        bare: dict[str, Any] = dict.fromkeys(("soft", "targets", "steps", "decoder"))
        return dataclasses.replace(self, images=self.images[rows], labels=self.labels[rows], **bare)

    def _repr_html_(self) -> str:
        """What a notebook shows of the set: a line, and a small contact sheet or table within the page."""
        count, classes = f"{len(self.labels):,} stored {self.called}s", f"{len(self.classes)} classes"
        shape = " × ".join(map(str, self.images.shape[1:])) if self.columns is None else f"{len(self.columns)} channels"
        told = f"{count} of {classes}, {self.each} a class, {shape}"
        origin = " of ".join(self.provenance[name] for name in ("method", "data") if name in self.provenance)
        line = html.escape(make_visible(f"{origin}: {told}" if origin else told))
        if self.columns is not None:
            return f"<p>{line}</p>{draw_rows(self)}"
        sheet = base64.b64encode(encode_preview(self)).decode()
        return f'<p>{line}</p><img alt="{line}" src="data:image/png;base64,{sheet}">'

    @plain_torch()
    def as_dataset(self, *, eight_bit: bool = False, soft: bool = False, targets: bool = False) -> TensorDataset:
        """Network-ready images and labels: train on them with no further transform.

        `eight_bit` gives what the 8-bit images give, after the same normalisation. `soft` gives probabilities as
        labels, which `torch.nn.functional.cross_entropy` takes as well. `targets` gives what scores should be, for
        squared errors: where none were learned, the one-hot labels less 1/k. Raises `ValueError` where there are no
        soft labels, and where both are asked for.
        """
        labels = self.soft if soft else self.decoded_labels()
        if soft and targets:
            raise ValueError("soft and targets are two kinds of labels: leave out one of them")
        if labels is None:
            raise ValueError("the set has no soft labels")
        if targets:
            labels = centred(labels, len(self.classes)) if self.targets is None else self.targets
        labels = labels.float() if labels.is_floating_point() else labels
        images = self.decoded()
        if eight_bit and self.columns is not None:
            raise ValueError("a table has no 8-bit images: its rows are stored as floats alone")
        if eight_bit:
            images = self.normalisation.to_network(self.pictures().float() / 255)
        return TensorDataset(images, labels)
