"""The card of a condensed set: what it is for, where it comes from, how to train on it."""

import json
import math
import re
from pathlib import Path
from typing import Any

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import CONTACT, IMAGES, shorten
from attar.condensed.snippets import FRESH, PICTURES, SNIPPET, STEPWISE, STORED
from attar.condensed.steps import Steps
from attar.condensed.tables import TABLE, show_rows
from attar.data.table import Columns
from attar.data.whitening import AnyNormalisation
from attar.files import write_text
from attar.wording import duration, make_visible, size

CARD = "README.md"


def write_card(made: CondensedSet, folder: Path) -> None:
    """`README.md` with the header that Hugging Face reads."""
    write_text(folder / CARD, make_card(made))


def make_card(made: CondensedSet) -> str:
    """Markdown: what the set is for, where it comes from, how to train on it.

    Says nothing of what the provenance does not hold.
    """
    about = made.provenance
    data, method, classes = about.get("data", "a data set"), about.get("method", "a method"), len(made.classes)
    network = "ConvNet" if made.columns is None else "MLP"
    lr = "0.01" if made.step_size is None else "made.step_size"
    names = ", ".join(escape(shorten(name, 40)) for name in made.classes[:20]) + (", …" if classes > 20 else "")
    stored = f"{len(made.labels):,} stored {made.called}s ({made.each} a class, {classes} classes)"
    stored, them = (f"A generator, and {stored} of it", "fresh ones") if made.generative else (stored, "them")
    purpose = (
        f"{stored}, to stand in for the training set of {escape(data)}: networks trained on {them} alone should come "
        "near to those trained on all. They are made to learn from, not to look real."
    )
    snippet = STEPWISE if made.steps else FRESH if made.generative else SNIPPET
    picture = f"![The condensed images, class by class]({CONTACT})"
    sections = [
        make_header(made, f"{data}, condensed by {method}"),
        f"# {escape(data)}, condensed by {escape(method)}",
        purpose,
        picture if made.columns is None else list_rows(made),
        f"Classes, in the order of their labels: {names}.",
        make_table("|  |  |", list_facts(made)),
        f"## Train on it\n\nFrom inside this folder:\n\n```python\n{snippet.format(network=network, lr=lr)}```",
        describe_pictures(made) if made.columns is None else TOLD,
        "## How it decodes",
        describe_decoding(made),
    ]
    if settings := about.get("hyperparameters"):
        cells = {f"`{key}`": f"`{brief(value)}`" for key, value in settings.items()}
        sections += ["## Hyper-parameters", make_table("| name | value |", cells)]
    return "\n\n".join(sections) + "\n"


TOLD = (
    f"The same rows are in `{TABLE}`: numbers in their own units, for a column of categories the one whose channel has "
    "the largest value, and in the last column the class by name. What the other channels hold is lost there."
)


def list_rows(made: CondensedSet) -> str:
    """The first rows, as Markdown."""
    shown = show_rows(made)
    lines = [shown.names, ["---"] * len(shown.names), *shown.rows]
    table = "\n".join(f"| {' | '.join(line if line[0] == '---' else map(escape, line))} |" for line in lines)
    return f"{table}\n\nand {shown.note}." if shown.note else table


def describe_pictures(made: CondensedSet) -> str:
    """How other libraries read the 8-bit images, and what they lose."""
    told = (
        f"The same images at 8 bit are in `{IMAGES}/`, one folder a class: "
        f'`torchvision.datasets.ImageFolder("{IMAGES}")` and '
        f'`datasets.load_dataset("imagefolder", data_dir="{IMAGES}")` read them with the same labels. '
        "Rounding can cost a little accuracy."
    )
    channels = made.images.shape[1]
    if channels not in (1, 3):
        kept = "the first channel" if channels == 2 else "the first three channels"
        return f"{told} They hold only {kept} of {channels}."
    if channels == 1:
        told += " They are grey, but `ImageFolder` gives RGB, three times the same: make them grey again, as here."
    grey = "transforms.Grayscale(), " if channels == 1 else ""
    read, step = name_step(made.normalisation)
    return f"{told}\n\n```python\n{PICTURES.format(folder=IMAGES, grey=grey, read=read, step=step)}```"


def name_step(normalisation: AnyNormalisation) -> tuple[str, str]:
    """torchvision's own for the same, as code, and the code that reads what it takes."""
    if normalisation.tensors:
        return STORED, 'transforms.LinearTransformation(stored["whitening"], stored["mean_image"].flatten())'
    mean, std = ([round(value, 6) for value in values] for values in normalisation.entries.values())
    return "", f"transforms.Normalize({mean}, {std})"


def make_header(made: CondensedSet, title: str) -> str:
    """YAML; every JSON string is one."""
    count = len(made.decoded_labels())
    # The categories are the hub's own words.
    bounds = [(1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (math.inf, "1M<n<10M")]
    category = next(name for bound, name in bounds if count < bound)
    task, files = ("image", f"{IMAGES}/**") if made.columns is None else ("tabular", TABLE)
    return (
        f"---\npretty_name: {json.dumps(title)}\n"
        "tags:\n- dataset-condensation\n- attar\n"
        f"task_categories:\n- {task}-classification\n"
        f"size_categories:\n- {category}\n"
        f"configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {files}\n---"
    )


def list_facts(made: CondensedSet) -> dict[str, str]:
    """What is known of where the set comes from."""
    about, bytes = made.provenance, made.bytes
    eight_bit = f", {size(bytes['eight_bit'])} decoded to 8 bit" if made.columns is None else ""
    stored = (
        "stored" if made.decoder is None else "generator and codes" if made.decoder.codes is not None else "generator"
    )
    whitening = f", and {size(bytes['whitening'])} by which they are whitened" if bytes["whitening"] else ""
    known: dict[str, Any] = {
        "Method": about.get("method"),
        "Data": about.get("data"),
        f"{made.called.capitalize()}s a class": made.each,
        "Bytes": f"{size(bytes['stored'])} as {stored} (floats){eight_bit}{whitening}",
        "Soft labels": None if made.soft is None else "a row for each decoded image, from as_dataset(soft=True)",
        "Targets": None if made.targets is None else "a row for each decoded image, from as_dataset(targets=True)",
        "Generator": None if made.decoder is None else made.decoder.name,
        "Step size": None if made.step_size is None else f"{made.step_size:.6g}, learned with the {made.called}s",
        "Steps": None if made.steps is None else tell_steps(made.steps),
        "Mirrored images": None
        if "flip" not in about or made.columns
        else "keep their class"
        if about["flip"]
        else "not used",
        "Encoder": about.get("encoder"),
        "Certificate": tell_certificate(made),
        "Seed": about.get("seed"),
        "Condensed in": duration(float(about["seconds"])) if isinstance(about.get("seconds"), int | float) else None,
        "Engine": brief(about.get("engine")),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Fingerprint of the training data": about.get("fingerprint"),
    }
    return {name: escape(str(value)) for name, value in known.items() if value not in (None, "")}


def tell_steps(steps: Steps) -> str:
    rounds, each = steps.sizes.shape
    return f"{rounds} × {each}, in order, each on its own images and by a learned size"


def tell_certificate(made: CondensedSet) -> str | None:
    """How exactly an SVM makes of this set what it makes of all images; `None` where the set has no such proof."""
    match made.provenance.get("certificate"):
        case {"images": int(count), "difference": int() | float() as most, "agreement": int() | float() as share}:
            agree = "all" if share == 1 else f"{100 * share:.6g} % of"
            told = f"an SVM fitted on this set alone decides as one on {count:,} {made.called}s"
            return f"{told}: decision values differ by at most {most:.1e}, and {agree} predictions agree"
    return None


def brief(value: Any) -> str:
    """A value of a provenance in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {brief(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple) and len(value) > 12:  # such as the indices of selected images
        return f"{len(value)} values"
    if isinstance(value, list | tuple):
        return ", ".join(brief(inner) for inner in value if inner is not None)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else make_visible(str(value))


def describe_decoding(made: CondensedSet) -> str:
    """From stored floats to what networks see, in words."""
    c, h, w = made.images.shape[1:]
    normalised = "normalised per channel, to mean 0 and deviation 1"
    normalised = made.normalisation.describe() if made.columns is None else normalised
    where = "on [0, 1]" if made.space == "unit" else "already as networks see them"
    tiles = made.factor**2
    seen = f"{h} × {w} with {c} channel{'s' * (c > 1)}" if made.columns is None else describe_channels(made.columns)
    told = f"{made.called.capitalize()}s are {seen}, stored {where} as floats in `condensed.safetensors`."
    if made.factor > 1:
        told += (
            f" Each stored image holds {tiles} tiles ({made.factor} × {made.factor}), and each tile is enlarged "
            f"bilinearly to full size: {len(made.labels):,} stored images decode to {len(made.decoded_labels()):,}."
        )
    if made.decoder is not None:
        codes = "from random codes" if made.generative else "from the codes that lie beside them"
        told += f" A generator made them, {codes}; its weights are in the same file."
    return f"{told} Networks see them {normalised}; `as_dataset()` does all this."


def describe_channels(columns: Columns) -> str:
    told = f"{len(columns)} channels of a single pixel, numbers with the least value of the training part at 0"
    return f"{told}, its greatest at 1, and categories one-hot"


def make_table(head: str, cells: dict[str, str]) -> str:
    return "\n".join([head, "|---|---|", *(f"| {name} | {value} |" for name, value in cells.items())])


def escape(text: str) -> str:
    """User text that Markdown shows as it is, with control characters as their code."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", make_visible(" ".join(text.split())))
