"""Encoded pictures, such as JPEG and PNG, as one array of bytes: decoded on all cores, grey or colour, of one size."""

import io
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from attar.data.check import SMALLEST, list_some, watch
from attar.data.on_disk import gather_rows, pieces
from attar.wording import in_a_line

# Others run programs, or hold no photographs. JPEG includes the MPO of some phones; old data sets come as PPM.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM")
GREY = ("1", "L", "LA", "La")
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
LARGEST = 128  # pixels a side that are proposed: on larger images networks train for hours
SKIPPING = "; load_data(skip_damaged=True), or --skip-damaged, leaves such pictures out"
LOG = logging.getLogger("attar")


@dataclass(frozen=True)
class Decoding:
    """How pictures become images of one size. Raises `ValueError` for a size below 4 pixels."""

    size: int | None = None
    """Pixels a side: the short side is resized to it, and the centre cropped. `None`: all have one size already."""
    skip_damaged: bool = False
    """Leave out what cannot be decoded, instead of refusing it."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size < SMALLEST:
            raise ValueError(f"size is {self.size}; expected at least {SMALLEST} pixels")


class Encoded(NamedTuple):
    """A picture as it is stored; `what` names it in errors."""

    what: str
    source: Path | bytes
    label: Any


class Decoded(NamedTuple):
    """Images, their labels, and the names of the damaged ones that were left out."""

    x: UInt8[np.ndarray, "n c h w"]
    y: list[Any]
    damaged: list[str]


Read = Callable[[], Iterator[Encoded]]


class Damaged(ValueError):
    """A picture that cannot be decoded."""


class OtherMode(ValueError):
    """A whole picture of a kind that nobody can take for grey or colour."""


def decode_pictures(read: Read, total: int, decoding: Decoding | None, about: str, quiet: bool) -> Decoded:
    """The pictures that `read()` gives, `total` at most, in their order; grey where all are, else colour.

    `decoding` is `None` for a known set, of which nothing may be resized or left out. Only few encoded pictures are in
    memory at a time. `about` stands beside the bar on a terminal. Raises `ValueError` where one cannot be decoded, or
    where they differ in size and none is given.
    """
    Image.init()  # here, and not in several threads at once: it fills the table of the formats
    chosen = decoding or Decoding()
    labels: list[Any] = []
    damaged: list[str] = []
    colour = False

    def rows() -> Iterator[UInt8[np.ndarray, "1 3 h w"]]:
        nonlocal colour
        first = None
        for picture, decoded in watch(decode_ahead(read(), chosen.size), total, about, quiet):
            try:
                pixels = decoded.result()
            except Damaged as error:
                if not chosen.skip_damaged:
                    raise ValueError(f"{error}{SKIPPING if decoding else ''}") from None
                damaged.append(picture.what)
                continue
            first = (picture.what, pixels.shape[:2]) if first is None else first
            if pixels.shape[:2] != first[1]:
                raise ValueError(tell_sizes(first, (picture.what, pixels.shape[:2]), read if decoding else None))
            labels.append(picture.label)
            colour |= pixels.ndim == 3
            yield as_colour(pixels)[None]

    with warnings.catch_warnings(action="ignore"):  # of Pillow, about what it mends, one for each picture
        made = rows()
        first = next(made, None)
        x = np.empty((0, 3, 0, 0), np.uint8) if first is None else gather_rows(chain([first], made), total)
    say_left_out(damaged, total)
    return Decoded(x if colour else take_grey(x), labels, damaged)


def say_left_out(damaged: list[str], total: int) -> None:
    if damaged:
        told = f"left out {len(damaged)} of {total} pictures, which cannot be decoded"
        LOG.warning(f"{told}: {list_some(damaged)}")


def decode_ahead(pictures: Iterator[Encoded], size: int | None) -> Iterator[tuple[Encoded, "Future[np.ndarray]"]]:
    """Each picture in turn, while the next are decoded; few are read ahead, as all may exceed the memory."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Encoded, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(workers) as pool:  # threads do: Pillow decodes without Python's lock
        for picture in pictures:
            waiting.append((picture, pool.submit(decode, picture, size)))
            if len(waiting) > 2 * workers:
                yield waiting.popleft()
        yield from waiting


def decode(encoded: Encoded, size: int | None) -> np.ndarray:
    """The bytes of one picture, `(h, w)` or `(h, w, 3)`, upright as the camera was held."""
    with opened(encoded) as picture:
        deep = picture.mode == "I" and picture.format == "PNG"  # as older Pillows have 16 bits
        if size:
            picture.draft(None, (2 * size, 2 * size))  # of a large JPEG, this decodes an eighth at once
        upright = ImageOps.exif_transpose(picture)  # this also reads the pixels
        flat = flatten(upright.convert("I;16") if deep else upright, encoded.what)
        if size:
            flat = ImageOps.fit(flat, (size, size), Image.Resampling.BICUBIC)
        return np.asarray(flat)


def is_picture(file: Path) -> bool:
    """Whether its content begins as that of a picture does, whatever it is called."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    except Image.DecompressionBombError:
        return True


@contextmanager
def opened(encoded: Encoded) -> Iterator[Image.Image]:
    """A picture of which only the header is read. What Pillow raises, also within the block, becomes `Damaged`."""
    what, source = encoded.what, encoded.source
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ValueError(f"{what} cannot be read: {error.strerror}") from None
    if not content:
        raise Damaged(f"{what} is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            yield picture
    except UnidentifiedImageError:
        raise Damaged(f"{what} is damaged, or no JPEG, PNG, WebP, GIF, BMP or TIFF") from None
    except Image.DecompressionBombError as error:
        raise Damaged(f"{what} is too large: {error}") from None
    except (MemoryError, OtherMode):  # no fault of the file
        raise
    except Exception as error:  # of Pillow: of more types than it documents
        raise Damaged(f"{what} is damaged: {in_a_line(error)}") from None


def flatten(picture: Image.Image, what: str) -> Image.Image:
    """Grey or RGB, of bytes; on white where it is transparent. Raises `OtherMode` for what is neither."""
    clear = picture.info.get("transparency")
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(np.where(values == clear, 255, (values + 128) // 257).astype(np.uint8))
    if picture.mode not in (*GREY, *COLOUR):
        raise OtherMode(f"{what} has the mode {picture.mode}; convert it to L or RGB")
    plain = "L" if is_grey(picture) else "RGB"
    if clear is None and picture.mode not in TRANSPARENT:
        return picture.convert(plain)
    straight = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode))
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, straight.convert("RGBA")).convert(plain)


def is_grey(picture: Image.Image) -> bool:
    """Whether its kind of pixel is grey; a palette is where it holds nothing else, as GIF has no other grey."""
    if picture.mode not in ("P", "PA"):
        return picture.mode in GREY
    red, green, blue = np.reshape(picture.getpalette("RGB") or [0, 0, 0], (-1, 3)).T
    return bool((red == green).all() and (green == blue).all())


def as_colour(pixels: np.ndarray) -> UInt8[np.ndarray, "3 h w"]:
    """Of grey ones too: only the last picture tells whether all are grey."""
    layers = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(layers, (3, *pixels.shape[:2])))


def take_grey(x: UInt8[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n 1 h w"]:
    return gather_rows((x[some, :1] for some in pieces(x)), len(x)) if len(x) else x[:, :1]


Sized = tuple[str, tuple[int, ...]]  # a picture's name, its height and width


def tell_sizes(first: Sized, other: Sized, read: Read | None) -> str:
    """Which pictures differ; with `read`, after a look at the headers of all, also a size that suits them."""
    told = "{1} is {3}, but {0} is {2}: all must have one size".format(
        *(name for name, _ in (first, other)), *("x".join(map(str, side)) for _, side in (first, other))
    )
    if read is None:
        return told
    sides = [min(first[1]), min(other[1])]
    for picture in read():
        with suppress(ValueError), opened(picture) as found:
            sides.append(min(found.size))
    size = propose_size(min(sides))
    resized = "resizes their short sides and crops their centres"
    return f"{told}; load_data(size={size}), or --size {size}, {resized}"


def propose_size(side: int) -> int:
    """The largest power of two that is no larger than the shortest side, and not too large for networks."""
    return max(SMALLEST, min(LARGEST, 2 ** (side.bit_length() - 1)))
