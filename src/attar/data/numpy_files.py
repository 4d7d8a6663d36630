"""NumPy files: one npz archive, or a folder of npy arrays that may be larger than memory."""

import logging
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from attar.data.check import Found, Given

# What np.load raises for broken files: more than it documents.
DAMAGE = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
# Each role's documented name is its own; these stand in for one that is missing.
STAND_INS = {
    "x": ("x_train", "images", "train_images"),
    "y": ("y_train", "labels", "train_labels"),
    "x_test": ("test_images",),
    "y_test": ("test_labels",),
}
VALIDATION = {
    name
    for part in ("val", "valid", "validation")
    for kind in ("x", "y", "images", "labels")
    for name in (f"{part}_{kind}", f"{kind}_{part}")
}


def read_npz(path: Path) -> Found:
    """The arrays of a NumPy file, under the names that `find_key` knows; whatever else it holds is left alone."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    with path.open("rb") as opened:  # not by np.load, which leaves a damaged file open
        try:
            file = np.load(opened, allow_pickle=False)  # a pickle may run any code
        except DAMAGE as error:
            told = "it is not a zip of arrays" if "allow_pickle" in str(error) else error  # advice not to be followed
            raise ValueError(f"{path} is damaged, or no npz file: {told}") from None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} holds a single array; expected an npz file with x and y")
        keys = {role: find_key(role, file, path) for role in STAND_INS}
        found = {role: key for role, key in keys.items() if key}
        if not {"x", "y"} <= found.keys() or ("x_test" in found) != ("y_test" in found):
            raise ValueError(
                f"{path} has the keys {', '.join(file)}; expected x and y, and both or none of x_test and y_test"
            )
        say_unused(path, file)
        arrays = {role: read_member(file, key, path) for role, key in found.items()}
    test = Given(f"{path}: the test", arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else None
    return Found(Given(f"{path}: the training", arrays["x"], arrays["y"]), test)


def find_key(role: str, names: Iterable[str], path: Path) -> str | None:
    """The array of that role, or `None`. Raises `ValueError` where it could be either of two."""
    found = [role] if role in names else [name for name in STAND_INS[role] if name in names]
    if len(found) > 1:
        raise ValueError(f"{path} has both {found[0]} and {found[1]}: call the one to be read {role}")
    return found[0] if found else None


def say_unused(place: Path, names: Iterable[str]) -> None:
    """One logged sentence about a validation part, so that nobody believes it was looked at."""
    if unused := sorted(VALIDATION & set(names)):
        told = "a validation part is not used; to test on it, name it x_test and y_test"
        logging.getLogger("attar").warning(f"{place} has {' and '.join(unused)}: {told}")


def read_npy(folder: Path) -> Found:
    """x_train.npy, y_train.npy and perhaps x_test.npy and y_test.npy of a folder, mapped.

    Whatever else it holds is left alone.
    """
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    roles = ["x_train", "y_train", "x_test", "y_test"]
    files = [folder / f"{role}.npy" for role in roles if (folder / f"{role}.npy").is_file()]
    if [file.stem for file in files] not in (roles[:2], roles):
        listed = ", ".join(file.name for file in files) or "none of its arrays"
        expected = "x_train.npy and y_train.npy, and both or none of x_test.npy and y_test.npy"
        raise ValueError(f"{folder} holds {listed}; expected {expected}")
    arrays = [map_file(file) for file in files]
    say_unused(folder, [file.stem for file in folder.glob("*.npy")])
    test = Given(f"{folder}: the test", *arrays[2:]) if arrays[2:] else None
    return Found(Given(f"{folder}: the training", *arrays[:2]), test, files=files)


def map_file(file: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(file, mode="r")  # not np.load, which would also take a zip or a pickle
    except (SyntaxError, TokenError, TypeError, ValueError) as error:
        if "Python objects" in str(error):  # NumPy has no error of its own for these
            raise ValueError(f"{file} holds Python objects; save numbers, or text as {file.stem}.astype(str)") from None
        raise ValueError(f"{file} is damaged, or no npy file: {error}") from None


def read_member(file: Any, key: str, path: Path) -> np.ndarray:
    try:
        return file[key]
    except DAMAGE as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: {key} holds Python objects; save numbers, or text as {key}.astype(str)"
            ) from None
        raise ValueError(f"{path} is damaged: cannot read {key}: {error}") from None
