"""NumPy files: one npz archive, or a folder of npy arrays that may be larger than memory."""

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from attar.data.check import Given, Parts, check_parts

# What np.load raises for broken files: more than it documents.
DAMAGE = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
KEYS = {
    "x": ("x", "images", "x_train", "train_images"),
    "y": ("y", "labels", "y_train", "train_labels"),
    "x_test": ("x_test", "test_images"),
    "y_test": ("y_test", "test_labels"),
}


def read_npz(path: Path) -> Parts:
    """The arrays of a NumPy file, under the names in `KEYS`; whatever else it holds is left alone."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    with path.open("rb") as opened:  # not by np.load, which leaves a damaged file open
        try:
            file = np.load(opened, allow_pickle=False)  # a pickle may run any code
        except DAMAGE as error:
            raise ValueError(f"{path} is damaged, or no npz file: {error}") from None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} holds a single array; expected an npz file with x and y")
        found = {role: key for role, keys in KEYS.items() for key in keys if key in file}
        if not {"x", "y"} <= found.keys() or ("x_test" in found) != ("y_test" in found):
            raise ValueError(
                f"{path} has the keys {', '.join(file)}; expected x and y, and both or none of x_test and y_test"
            )
        arrays = {role: read_member(file, key, path) for role, key in found.items()}
    test = Given(f"{path}: the test", arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else None
    return check_parts(Given(f"{path}: the training", arrays["x"], arrays["y"]), test)


def read_npy(folder: Path) -> Parts:
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
    test = Given(f"{folder}: the test", *arrays[2:]) if arrays[2:] else None
    return check_parts(Given(f"{folder}: the training", *arrays[:2]), test)._replace(files=files)


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
