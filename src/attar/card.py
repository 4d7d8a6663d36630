"""What lies beside the tensors for people and other tools: 8-bit images by class, a contact sheet, a card."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8
from torch import Tensor

from attar.files import beside
from attar.rows import duration, size

if TYPE_CHECKING:
    from PIL.Image import Image

    from attar.artefact import CondensedSet

IMAGES, CONTACT, CARD = "images", "contact.png", "README.md"
# Hugging Face takes a folder of such a name for a split, and then drops every folder that has none.
SPLITS = re.compile(r"(?<![^-._ 0-9])(train|training|test|testing|eval|evaluation|valid|validation|val|dev)(?![^-._ 0-9])")
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows keeps for itself
INK, FAINT, PAPER = "#1f2328", "#6b7280", "#ffffff"


def write_pictures(made: "CondensedSet", folder: Path) -> None:
    """`images/<class>/<nnnn>.png`, decoded to 8 bit, and `contact.png`.

    `torchvision.datasets.ImageFolder` and `datasets.load_dataset("imagefolder")` number the classes as the set does, where
    every class has images; one without has an empty folder. Images of one or two channels are saved as grey, of more as RGB:
    the first channel or three. An older `images/` is replaced as a whole.
    """
    part, old, final = folder / f".{IMAGES}.part", folder / f".{IMAGES}.old", folder / IMAGES
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pictures, labels = made.pictures(), made.decoded_labels()
    for c, name in enumerate(class_folders(made.classes)):
        (part / name).mkdir(parents=True)
        for i, pixels in enumerate(pictures[labels == c]):
            picture(pixels).save(part / name / f"{i:04d}.png")
    if final.exists():
        final.rename(old)
    part.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    with beside(folder / CONTACT) as temporary:
        contact_sheet(made).save(temporary, format="PNG", optimize=True)


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder name for each class, in an order that sorting keeps: with a number in front only where it must be."""
    names = [file_safe(name) for name in classes]
    # Some file systems take "A" and "a" for one folder.
    if names == sorted(names) and len({name.casefold() for name in names}) == len(names):
        return names
    digits = len(str(len(names) - 1))
    return [f"{i:0{digits}d}-{name}" for i, name in enumerate(names)]


def file_safe(name: str) -> str:
    """Letters, digits, `-` and `_`; at most 60 characters; never empty, hidden, or the name of a split or a device."""
    safe = re.sub(r"[^\w-]+", "_", name)[:60].strip("_") or "class"
    safe = SPLITS.sub(lambda found: found[0].capitalize(), safe)
    return f"{safe}_" if DEVICES.fullmatch(safe) else safe


def picture(pixels: UInt8[Tensor, "c h w"]) -> "Image":
    from PIL import Image

    array = pixels[:3].permute(1, 2, 0) if len(pixels) >= 3 else pixels[0]
    return Image.fromarray(array.contiguous().cpu().numpy())


def enlarged(image: "Image", side: int) -> "Image":
    """A small image at a whole multiple of its size that comes near `side`, a large one shrunk to it."""
    from PIL import Image

    largest = max(image.size)
    if largest > 2 * side:
        return image.resize([max(1, round(n * side / largest)) for n in image.size], Image.Resampling.LANCZOS)
    times = max(1, round(side / largest))
    return image.resize([n * times for n in image.size], Image.Resampling.NEAREST)


def contact_sheet(made: "CondensedSet", *, most: int = 20, most_classes: int = 100, side: int = 50) -> "Image":
    """A row of decoded images for each class, its name at the left; many classes stand in several columns."""
    from PIL import Image, ImageDraw

    pictures, labels = made.pictures(), made.decoded_labels()
    rows = [[enlarged(picture(p), side) for p in pictures[labels == c][:most]] for c in range(len(made.classes))][:most_classes]
    cell_w, cell_h = next(row[0].size for row in rows if row)
    gap, margin, text = 4, 24, font(15)
    names = [shorten(name, 24) for name in made.classes[:most_classes]]
    name_w = max(math.ceil(text.getlength(name)) for name in names) + 14
    row_w, row_h = name_w + max(map(len, rows)) * (cell_w + gap) - gap, max(cell_h, 18) + gap
    # As many columns as bring the sheet nearest to a page that is a little taller than wide.
    columns = max(1, min(len(rows), round(math.sqrt(len(rows) * row_h / (1.2 * (row_w + margin))))))
    deep = math.ceil(len(rows) / columns)
    columns = math.ceil(len(rows) / deep)
    note = remark(made, most, most_classes)
    width, height = margin + columns * (row_w + margin), 2 * margin + deep * row_h - gap + (28 if note else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        x, y = margin + i // deep * (row_w + margin), margin + i % deep * row_h
        draw.text((x + name_w - 14, y + (row_h - gap) / 2), name, INK, text, anchor="rm")
        for j, image in enumerate(row):
            sheet.paste(image, (x + name_w + j * (cell_w + gap), y))
    draw.text((margin, height - margin), note, FAINT, font(13), anchor="ls")
    return sheet


def remark(made: "CondensedSet", most: int, most_classes: int) -> str:
    """What the sheet leaves out."""
    count, classes = int(made.decoded_labels().bincount().max()), len(made.classes)
    parts = [f"the first {most} of {count} images a class"] if count > most else []
    return ", ".join(parts + ([f"the first {most_classes} of {classes} classes"] if classes > most_classes else []))


def font(points: int):
    """DejaVu Sans, which matplotlib carries: it has the letters of most languages."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", points)


def shorten(name: str, most: int) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def write_card(made: "CondensedSet", folder: Path) -> None:
    """`README.md` with the header that Hugging Face reads."""
    with beside(folder / CARD) as temporary:
        temporary.write_text(card(made), encoding="utf-8")


def card(made: "CondensedSet") -> str:
    """Markdown: what the set is for, where it comes from, how to train on it. Says nothing of what the provenance does not hold."""
    about = made.provenance
    data, method, classes = about.get("data", "a data set"), about.get("method", "a method"), len(made.classes)
    names = ", ".join(escaped(shorten(name, 40)) for name in made.classes[:20]) + (", …" if classes > 20 else "")
    purpose = (
        f"{len(made.labels):,} stored images ({made.ipc} a class, {classes} classes), to stand in for the training set of {escaped(data)}: "
        "networks trained on them alone should come near to networks trained on all of it. They are made to learn from, not to look real."
    )
    files = (
        f'The same images at 8 bit are in `{IMAGES}/`, one folder a class: `torchvision.datasets.ImageFolder("{IMAGES}")` and '
        f'`datasets.load_dataset("imagefolder", data_dir="{IMAGES}")` read them with the same labels. Rounding can cost a little accuracy.'
    )
    sections = [
        header(made, f"{data}, condensed by {method}"),
        f"# {escaped(data)}, condensed by {escaped(method)}",
        purpose,
        f"![The condensed images, class by class]({CONTACT})",
        f"Classes, in the order of their labels: {names}.",
        table("|  |  |", facts(made)),
        f"## Train on it\n\nFrom inside this folder:\n\n```python\n{SNIPPET}```",
        files,
        "## How it decodes",
        decoding(made),
    ]
    if settings := about.get("hyperparameters"):
        sections += ["## Hyper-parameters", table("| name | value |", {f"`{key}`": f"`{brief(value)}`" for key, value in settings.items()})]
    return "\n\n".join(sections) + "\n"


SNIPPET = """\
import attar, torch
from attar.architectures import ConvNet
from torch.utils.data import DataLoader

made = attar.load(".")
network = ConvNet(made.images.shape[1:], len(made.classes))
optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
for epoch in range(300):
    for x, y in DataLoader(made.as_dataset(), batch_size=256, shuffle=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
"""


def header(made: "CondensedSet", title: str) -> str:
    """YAML; every JSON string is one."""
    count = len(made.decoded_labels())
    bounds = [(1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (math.inf, "1M<n<10M")]
    category = next(name for bound, name in bounds if count < bound)
    return (
        f"---\npretty_name: {json.dumps(title)}\ntags:\n- dataset-condensation\n- attar\ntask_categories:\n- image-classification\n"
        f"size_categories:\n- {category}\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {IMAGES}/**\n---"
    )


def facts(made: "CondensedSet") -> dict[str, str]:
    """What is known of where the set comes from."""
    about, bytes = made.provenance, made.bytes
    known: dict[str, Any] = {
        "Method": about.get("method"),
        "Data": about.get("data"),
        "Images a class": made.ipc,
        "Bytes": f"{size(bytes['stored'])} as stored (floats), {size(bytes['eight_bit'])} decoded to 8 bit",
        "Soft labels": None if made.soft is None else "a row for each decoded image, from as_dataset(soft=True)",
        "Seed": about.get("seed"),
        "Condensed in": duration(float(about["seconds"])) if isinstance(about.get("seconds"), int | float) else None,
        "Engine": brief([about.get("engine"), about.get("precision")]),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Fingerprint of the training data": about.get("fingerprint"),
    }
    return {name: escaped(str(value)) for name, value in known.items() if value not in (None, "")}


def brief(value: Any) -> str:
    """A value of a provenance in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {brief(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return f"{len(value)} values" if len(value) > 12 else ", ".join(brief(inner) for inner in value if inner is not None)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def decoding(made: "CondensedSet") -> str:
    """From stored floats to what networks see, in words."""
    c, h, w = made.images.shape[1:]
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (made.mean, made.std))
    where = "on [0, 1]" if made.space == "unit" else "already normalised"
    tiles = made.factor**2
    told = f"Images are {h} × {w} with {c} channel{'s' * (c > 1)}, stored {where} as floats in `condensed.safetensors`."
    if made.factor > 1:
        told += (
            f" Each stored image holds {tiles} tiles ({made.factor} × {made.factor}), and each tile is enlarged bilinearly to full size: "
            f"{len(made.labels):,} stored images decode to {len(made.decoded_labels()):,}."
        )
    return f"{told} Networks see them normalised per channel with mean {mean} and standard deviation {std}; `as_dataset()` does all this."


def table(head: str, cells: dict[str, str]) -> str:
    return "\n".join([head, "|---|---|", *(f"| {name} | {value} |" for name, value in cells.items())])


def escaped(text: str) -> str:
    """User text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))
