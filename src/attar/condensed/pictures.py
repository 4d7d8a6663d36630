"""8-bit images by class and a contact sheet, for people and other tools."""

import functools
import io
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Int, UInt8
from torch import Tensor

from attar.files import write_beside
from attar.wording import make_visible

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

IMAGES, CONTACT = "images", "contact.png"
# Hugging Face takes a folder of such a name for a split, and then drops every folder that has none.
SPLITS = re.compile(
    r"(?<![^-._ 0-9])(train|training|test|testing|eval|evaluation|valid|validation|val|dev)(?![^-._ 0-9])"
)
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows keeps for itself
INK, FAINT, PAPER = "#1f2328", "#6b7280", "#ffffff"


@runtime_checkable
class Shown(Protocol):
    """What a sheet shows of a condensed set."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    def pictures(self) -> UInt8[Tensor, "m c h w"]: ...
    def decoded_labels(self) -> Int[Tensor, " m"]: ...
    def first(self, most: int, most_classes: int) -> "Shown": ...


def write_pictures(made: Shown, folder: Path) -> None:
    """`images/<class>/<nnnn>.png`, decoded to 8 bit, and `contact.png`.

    `torchvision.datasets.ImageFolder` and `datasets.load_dataset("imagefolder")` number the classes as the set does,
    where every class has images. A class without images has an empty folder. Images of one or two channels are saved as
    grey, from the first channel, and others as RGB, from the first three. An older `images/` is replaced as a whole.
    """
    # Made aside and renamed: what fails half way leaves the older images.
    part, old, final = folder / f".{IMAGES}.part", folder / f".{IMAGES}.old", folder / IMAGES
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pictures, labels = made.pictures(), made.decoded_labels()
    for c, name in enumerate(name_folders(made.classes)):
        (part / name).mkdir(parents=True)
        for i, pixels in enumerate(pictures[labels == c]):
            to_picture(pixels).save(part / name / f"{i:04d}.png")
    if final.exists():
        final.rename(old)
    part.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    with write_beside(folder / CONTACT) as temporary:
        draw_contact_sheet(made).save(temporary, format="PNG", optimize=True)


def name_folders(classes: Sequence[str]) -> list[str]:
    """A folder name for each class, in an order that sorting keeps: with a number in front only where it must be."""
    names = [make_file_safe(name) for name in classes]
    # Some file systems take "A" and "a" for one folder.
    if names == sorted(names) and len({name.casefold() for name in names}) == len(names):
        return names
    digits = len(str(len(names) - 1))  # as sorting would put 10 before 2
    return [f"{i:0{digits}d}-{name}" for i, name in enumerate(names)]


def make_file_safe(name: str) -> str:
    """Letters, digits, `-` and `_`; at most 60 characters; never empty, hidden, or the name of a split or a device."""
    # 60 characters of up to four bytes, and a number, fit into the 255 bytes that file systems allow.
    safe = re.sub(r"[^\w-]+", "_", name)[:60].strip("_") or "class"
    safe = SPLITS.sub(lambda found: found[0].capitalize(), safe)  # Hugging Face looks for small letters
    return f"{safe}_" if DEVICES.fullmatch(safe) else safe


def to_picture(pixels: UInt8[Tensor, "c h w"]) -> "Image":
    from PIL import Image

    array = pixels[:3].permute(1, 2, 0) if len(pixels) >= 3 else pixels[0]
    return Image.fromarray(array.contiguous().cpu().numpy())


def resize(image: "Image", side: int) -> "Image":
    """A small image at a whole multiple of its size that comes near `side`, a large one shrunk to it."""
    from PIL import Image

    largest = max(image.size)
    if largest > 2 * side:
        return image.resize([max(1, round(n * side / largest)) for n in image.size], Image.Resampling.LANCZOS)
    # Nearest, and whole multiples: what was learned is seen pixel by pixel.
    times = max(1, round(side / largest))
    return image.resize([n * times for n in image.size], Image.Resampling.NEAREST)


def draw_contact_sheet(made: Shown, *, most: int = 20, most_classes: int = 100, side: int = 50) -> "Image":
    """A row of decoded images for each class, its name at the left; many classes stand in several columns.

    Classes without images, as in a shard, are left out. A name with letters that the font lacks is shown by its label.
    """
    from PIL import Image, ImageDraw

    few = made.first(most, most_classes)  # before decoding, which takes memory
    pictures, labels = few.pictures(), few.decoded_labels()
    classes = labels.unique().tolist()
    rows = [[resize(to_picture(p), side) for p in pictures[labels == c][:most]] for c in classes]
    cell_w, cell_h = rows[0][0].size
    gap, margin, text = 4, 24, load_font(15)
    names = [shorten(made.classes[c], 24) if can_draw(made.classes[c]) else str(c) for c in classes]
    name_w = max(math.ceil(text.getlength(name)) for name in names) + 14
    # 18: a name of 15 points must fit too.
    row_w, row_h = name_w + max(map(len, rows)) * (cell_w + gap) - gap, max(cell_h, 18) + gap
    # As many columns as bring the sheet nearest to a page that is a little taller than wide.
    columns = max(1, min(len(rows), round(math.sqrt(len(rows) * row_h / (1.2 * (row_w + margin))))))
    deep = math.ceil(len(rows) / columns)
    columns = math.ceil(len(rows) / deep)  # rounding up may have emptied the last
    note = say_omissions(made, most, most_classes)
    width, height = margin + columns * (row_w + margin), 2 * margin + deep * row_h - gap + (28 if note else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        x, y = margin + i // deep * (row_w + margin), margin + i % deep * row_h
        draw.text((x + name_w - 14, y + (row_h - gap) / 2), name, INK, text, anchor="rm")
        for j, image in enumerate(row):
            sheet.paste(image, (x + name_w + j * (cell_w + gap), y))
    draw.text((margin, height - margin), note, FAINT, load_font(13), anchor="ls")
    return sheet


def say_omissions(made: Shown, most: int, most_classes: int) -> str:
    """What the sheet leaves out."""
    labels = made.decoded_labels()
    count, classes = int(labels.bincount().max()), labels.unique().tolist()
    parts = {
        f"the first {most} of {count} images a class": count > most,
        f"the first {most_classes} of {len(classes)} classes": len(classes) > most_classes,
        "labels for names that this font lacks": not all(can_draw(made.classes[c]) for c in classes[:most_classes]),
    }
    return ", ".join(part for part, holds in parts.items() if holds)


def encode_preview(made: Shown, most_bytes: int = 100_000) -> bytes:
    """A small contact sheet as PNG: of ten classes, and of as many images as `most_bytes` allow."""
    for most in (8, 4, 2, 1):
        file = io.BytesIO()
        draw_contact_sheet(made, most=most, most_classes=10, side=32).quantize().save(file, format="PNG", optimize=True)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()


def find_font() -> Path:
    """DejaVu Sans, which matplotlib carries: it has the letters of most languages, but not of Chinese or Hindi."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


def load_font(points: int) -> "FreeTypeFont":
    from PIL import ImageFont

    return ImageFont.truetype(str(find_font()), points)


@functools.cache
def drawable() -> frozenset[int]:
    """The characters that the font has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(find_font())).get_charmap())


def can_draw(name: str) -> bool:
    return bool(name.strip()) and all(ord(letter) in drawable() for letter in shorten(name, len(name)))


def shorten(name: str, most: int) -> str:
    """In a line of at most `most` characters, all of them visible."""
    name = make_visible(" ".join(name.split()))
    return name if len(name) <= most else name[: most - 1] + "…"
