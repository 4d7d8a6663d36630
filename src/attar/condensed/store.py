"""A condensed set in a folder: written whole or not at all, and read back."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attar.condensed.card import write_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import write_pictures
from attar.data.normalisation import Normalisation
from attar.files import read_json, read_tensors, write_json, write_tensors

FORMAT = 1
TENSORS, MANIFEST, REQUEST = "condensed.safetensors", "recipe.json", "run.json"


def save(made: CondensedSet, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write the artefact: tensors, 8-bit images by class, contact sheet, card, and last the manifest.

    Raises `ValueError` where the folder holds other files, or another set that is not to be replaced (`overwrite`).
    """
    folder = Path(folder)
    claim(folder)
    if (folder / MANIFEST).exists() and not overwrite:
        raise ValueError(f"{folder} already holds a condensed set: save(..., overwrite=True) replaces it")
    (folder / MANIFEST).unlink(missing_ok=True)  # an earlier set's must not stand beside these tensors
    meta = {name: getattr(made, name) for name in ("classes", "factor", "space")}
    meta |= {"mean": made.normalisation.mean, "std": made.normalisation.std}
    tensors = {"images": made.images, "labels": made.labels} | ({} if made.soft is None else {"soft": made.soft})
    write_tensors(folder / TENSORS, tensors, meta)
    write_pictures(made, folder)
    write_card(made, folder)
    checksum = sha256(folder / TENSORS)
    # Last: a folder with a manifest is whole.
    write_json(folder / MANIFEST, {"format": FORMAT, "sha256": checksum, "bytes": made.bytes, **made.provenance})
    return folder


def load(folder: str | Path) -> CondensedSet:
    """The artefact of a run's folder.

    Raises `ValueError` where there is none, or a damaged one, or one of another version.
    """
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
    # Without what `save` adds by itself.
    provenance = {key: value for key, value in manifest.items() if key not in ("format", "sha256", "bytes")}
    normalisation = Normalisation(tuple(meta["mean"]), tuple(meta["std"]))
    return CondensedSet(
        **tensors,
        classes=tuple(meta["classes"]),
        normalisation=normalisation,
        factor=meta["factor"],
        space=meta["space"],
        provenance=provenance,
    )


def claim(folder: Path, marks: Sequence[str] = (MANIFEST, REQUEST)) -> None:
    """Raises `ValueError` where the folder is none, or holds files but none of the `marks`.

    By default these are a set, or the beginning of a run.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder")
    # Locks and parts of files are Attar's own, left by a killed process.
    others = folder.exists() and any(not path.name.endswith((".lock", ".part")) for path in folder.iterdir())
    if others and not any(found for mark in marks for found in folder.glob(mark)):
        raise ValueError(f"{folder} holds files that are no run's: name a new folder")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
