"""Options that several commands share. No torch until they are used: `attar --help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

if TYPE_CHECKING:
    from attar.data.task import Task


@dataclass(frozen=True, kw_only=True)
class Source:
    """The data, and the network that trains on it."""

    root: Path | None = None
    """Folder of the data set's files. Only --download writes there."""
    download: bool = False
    """Fetch a known data set that is missing."""
    network: str | None = None
    """A known network, or file.py:Name for one of your own; by default convnet, and mlp for tables."""
    value_range: Annotated[tuple[float, float] | None, arg(name="range", metavar="LOW HIGH")] = None
    """Black and white in your own data, such as 0 16; by default 0 255, and 0 1 for floats."""

    flip: Literal["auto", "on", "off"] = "auto"
    """Whether a mirrored image keeps its class; auto is as in the literature, and off for your own data."""

    split: Literal["auto", "test", "validation", "held-out"] = "auto"
    """What is tested on: the test part, the validation part of your own data, or a held-out tenth of the training
    images; auto is the test part where there is one."""
    name: str | None = None
    """The name of your own data in rows and reports; by default that of its file or folder."""
    size: int | None = None
    """Pixels a side of pictures: the short side is resized to it, and the centre cropped."""
    skip_damaged: bool = False
    """Leave out pictures that cannot be decoded."""
    image_column: str | None = None
    """The column of the pictures, where a table leaves a choice."""
    label_column: str | None = None
    """The column of the labels, where a table leaves a choice."""
    categories: tuple[str, ...] = ()
    """Columns of a table whose numbers are categories, as text is by itself."""

    def task(self, data: str, group: str | None = None) -> "Task":
        """The data as these options say, with groups where these are named.

        Raises `ValueError` where it is missing, damaged or no labelled image set.
        """
        from attar.data.load import load_data

        return load_data(
            data,
            root=self.root,
            download=self.download,
            network=self.network,
            value_range=self.value_range,
            flip=self.mirrors,
            split=None if self.split == "auto" else self.split,
            name=self.name,
            size=self.size,
            skip_damaged=self.skip_damaged,
            image_column=self.image_column,
            label_column=self.label_column,
            categories=self.categories,
            group=group,
        )

    @property
    def mirrors(self) -> bool | None:
        """`flip` as `attar.condense` takes it."""
        return {"on": True, "off": False}.get(self.flip)


@dataclass(frozen=True, kw_only=True)
class Features:
    """A network that was trained elsewhere, and learns no more: its features select images and lay out plots."""

    encoder: str | None = None
    """efficientnet-lite0 (extra `encoder`), or a network such as timm:NAME with --weights."""
    weights: Path | None = None
    """The file of the encoder's weights: safetensors, or of torch.save."""
    encoder_size: int | None = None
    """Pixels a side of what the encoder sees; by default what it was trained on, if that is known."""

    def check(self) -> None:
        """Raises `ValueError` where the options do not belong together, or the file of the weights is missing."""
        from attar.data.encoder import check_weights

        if self.encoder is not None:
            check_weights(self.encoder, self.weights)
        elif self.weights is not None or self.encoder_size is not None:
            raise ValueError("--weights and --encoder-size are of an encoder: say which with --encoder")

    def give(self, task: "Task") -> "Task":
        """The task with this encoder, if there is one. Raises `ValueError` where it does not fit the images."""
        return task if self.encoder is None else task.with_encoder(self.encoder, self.weights, self.encoder_size)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The hardware, and how it is used."""

    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """Number format of the networks; auto is bf16 where the hardware multiplies in it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto compiles where the run would take over a minute without."""

    def options(self) -> dict[str, Any]:
        """What `attar.condense` and `attar.evaluate` take.

        Raises `ValueError` for a device that is unknown or not there.
        """
        from attar.engine.device import parse_device

        return {
            "device": parse_device(self.device),
            "precision": None if self.precision == "auto" else self.precision,
            "compile": self.compile,
        }
