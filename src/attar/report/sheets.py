"""Pictures within the page: the one it opens with, and the images of each class side by side."""

import base64
import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import resize, to_picture
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.report.names import by_budget, method, title

LARGEST = 64  # pixels a side of a picture, which the page shows a little smaller
PIXELS = 1_600_000  # bytes of pixels of all sheets, before compression; with the opening one 2.6 MB in base64
LINES, COLUMNS = 3, 10  # of the opening picture


def draw_opening(made: CondensedSet) -> dict[str, Any]:
    """The first images of each class, a column for each, with a caption. There are at most ten columns."""
    few = made.first(LINES, COLUMNS)
    pictures, labels = few.pictures(), few.decoded_labels()
    counts, classes = labels.bincount(), labels.unique().tolist()
    lines = min(LINES, int(counts[classes].min()))
    order = torch.stack([(labels == c).nonzero()[:lines, 0] for c in classes], dim=1).flatten()
    names, of = ", ".join(made.classes[c] for c in classes), len(made.labels.unique())
    images = f"the first {lines} images" if lines > 1 else "the first image" if counts.max() > 1 else "the image"
    shown = "each class" if of == len(classes) else f"the first {len(classes)} of {of} classes"
    caption = f"{title(made)}: {images} of {shown}, as networks see them"
    return {"block": draw_block(method(made), names, pictures[order], lines), "caption": caption}


def make_sheets(sets: Sequence[CondensedSet], task: Task | None) -> list[dict[str, Any]]:
    """For each budget: class by class, real images and those of each method."""
    budgets = sorted({made.ipc for made in sets}, key=by_budget)
    if not budgets:
        return []
    c, h, w = sets[0].images.shape[1:]
    each = min(c, 3) * min(h, LARGEST) * min(w, LARGEST)
    place = PIXELS / each / (len(sets) + len(budgets) * bool(task))  # real images stand beside each budget
    # As many classes as leave room for two images of each, but ten in any case.
    shown = min(len(sets[0].classes), 100, max(10, int(place / 2)))
    most = max(1, min(10, int(place / shown)))
    return [make_sheet([made for made in sets if made.ipc == ipc], task, shown, most) for ipc in budgets]


def make_sheet(sets: Sequence[CondensedSet], task: Task | None, shown: int, most: int) -> dict[str, Any]:
    """Sets of one budget side by side, behind the real images.

    They show the first `shown` classes, and at most `most` images of each.
    """
    decoded = [(made, made.pictures(), made.decoded_labels()) for made in sets]
    counts = [int(labels.bincount().max()) for _, _, labels in decoded]
    lines = 2 if min(most, max(counts)) > 5 else 1
    classes = []
    for c, name in enumerate(sets[0].classes[:shown]):
        own = [(method(made), pictures[labels == c][:most]) for made, pictures, labels in decoded]
        if task:
            # At least four, since one real image says little of a class; and none twice, as the table repeats some.
            real = unit(task.raw(task.table[c][: min(int(task.counts[c]), most, max(4, *counts))]))
            own.insert(0, ("real", (real * 255).round().to(torch.uint8)))
        blocks = [draw_block(label, name, images, lines) for label, images in own if len(images)]
        classes.append((name, blocks))
    return {"ipc": sets[0].ipc, "classes": classes, "of": len(sets[0].classes), "most": most, "counts": counts}


class Block(NamedTuple):
    """A few pictures of one class in one image."""

    label: str
    columns: float
    """Its width in pictures, with the gaps."""
    source: str
    alt: str


def draw_block(label: str, name: str, images: UInt8[Tensor, "n c h w"], lines: int) -> Block:
    """The images in `lines` lines, a transparent pixel or two apart."""
    from PIL import Image

    small = [resize(image, LARGEST) if max(image.size) > LARGEST else image for image in map(to_picture, images)]
    w, h = small[0].size
    gap, columns = max(1, w // 16), math.ceil(len(small) / lines)
    # Transparent, since the page is dark for some; WebP, since PNG takes 1.2 to 2.4 times the bytes.
    canvas = Image.new("RGBA", (columns * (w + gap) - gap, math.ceil(len(small) / columns) * (h + gap) - gap))
    for i, image in enumerate(small):
        canvas.paste(image.convert("RGBA"), (i % columns * (w + gap), i // columns * (h + gap)))
    out = BytesIO()
    canvas.save(out, format="WEBP", lossless=True, method=4)
    source = "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
    return Block(label, canvas.width / w, source, f"{len(small)} {label} image{'s' * (len(small) > 1)} of {name}")
