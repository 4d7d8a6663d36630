"""Data from anywhere as a task: known sets, NumPy files, arrays and torch datasets."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from torch import Tensor

from attar import network as networks
from attar.arrays import Given, Parts, image, moments, parts, stacked, watched
from attar.files import read_json, write_json
from attar.known import DATASETS, Known, cache_file, read
from attar.mapped import cache_folder, gathered, pieces, tensor
from attar.parquet import IMAGES, LABELS
from attar.task import Examples, Task, fingerprint

__all__ = ["DATASETS", "cache_folder", "load_data"]

HELD_OUT = 0.1
DAMAGE = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)  # raised by np.load
KEYS = {
    "x": ("x", "images", "x_train", "train_images"),
    "y": ("y", "labels", "y_train", "train_labels"),
    "x_test": ("x_test", "test_images"),
    "y_test": ("y_test", "test_labels"),
}


def load_data(
    data: Any, *, root: Path | str | None = None, download: bool = False, network: str | None = None, quiet: bool = False
) -> Task:
    """A task from a `Task` (as it is), a known name, `npz:PATH`, `npy:FOLDER`, `(x, y)`, `(x, y, x_test, y_test)`, a `Dataset` or two.

    Known sets are read from `root`, in torchvision's or the Hugging Face hub's layout, and never written there unless
    `download` fetches a missing one; the default is the folder `data` of the cache. Images are bytes or floats in
    [0, 1], of `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)`; labels are numbers or names. Those of `npy:FOLDER` may be
    larger than the memory: arrays of uint8 or float32 are read from where they lie. Without a test part 10 % of the
    examples (of `digits` 20 %) are held out, stratified. `network` is a known name, or `file.py:Name`; by default that of the
    task, or `convnet`. Raises `ValueError` with one sentence where the data is missing, damaged or no labelled image set.
    """
    if isinstance(data, Task):
        return data if network is None else data.with_network(network)
    network = network or "convnet"
    if not isinstance(data, str):
        return task(*given(data, quiet), network)
    try:
        if data.startswith("npz:"):
            path = Path(data.removeprefix("npz:")).expanduser()
            return task(path.stem, npz(path), network)
        if data.startswith("npy:"):
            path = Path(data.removeprefix("npy:")).expanduser().resolve()
            return task(path.name, npy(path), network)
        found = read(data, None if root is None else Path(root).expanduser(), download, quiet)
    except OSError as error:
        raise ValueError(f"cannot read {data}: {error}") from None
    return task(data, found, network, DATASETS[data])


def given(data: Any, quiet: bool) -> tuple[str, Parts]:
    """A name for the data of a Python caller, and its parts."""
    if not isinstance(data, tuple):
        return name_of(data), datasets(data, None, quiet)
    if len(data) == 2 and not any(map(is_array, data)):
        return name_of(data[0]), datasets(*data, quiet)
    if len(data) not in (2, 4):
        raise ValueError(f"a tuple of {len(data)} is no data; expected (x, y), (x, y, x_test, y_test), or two datasets")
    return "arrays", parts(Given("the training", *data[:2]), Given("the test", *data[2:]) if data[2:] else None)


def task(name: str, found: Parts, network: str, known: Known | None = None) -> Task:
    """Normalisation and flips as the literature has them for known sets; else measured, and flips for colour images."""
    train, test, split = found.train, found.test, "test set"
    if test is None:
        train, test, split = hold_out(train, found.classes, known.held_out if known else HELD_OUT)
    c, h, w = train.x.shape[1:]
    facts = measured(train, name, found.files)
    mean, std = (known.mean, known.std) if known and known.mean and known.std else (tuple(facts["mean"]), tuple(facts["std"]))
    flip = known.flip if known else c == 3
    if known is None and name in DATASETS:
        name = f"own-{name}"  # a known set's recipe is for that set alone
    made = Task(name, train, test, found.classes, mean, std, networks.network(network, (c, h, w), len(found.classes)), split, flip)
    vars(made)["fingerprint"] = facts["fingerprint"]  # of this very task: `replace` forgets it
    return made


def measured(train: Examples, name: str, files: Sequence[Path]) -> dict[str, Any]:
    """Mean, deviation and fingerprint of the training part, from the cache where these very files were measured before."""
    path = cache_file(name, files, ".json")
    with suppress(ValueError):
        return read_json(path)
    mean, std = moments(train.x)
    facts = {"mean": mean, "std": std, "fingerprint": fingerprint(train)}
    with suppress(OSError):
        if files:
            write_json(path, facts)
    return facts


def hold_out(whole: Examples, classes: tuple[str, ...], share: float) -> tuple[Examples, Examples, str]:
    """Training part, test part and what became of them; every class has its share of the test part, and at least one."""
    counts = whole.y.bincount()
    if counts.min() < 2:
        raise ValueError(f"class {classes[int(counts.argmin())]!r} has a single example; a test part held out of it needs two")
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(whole.y.numpy() == c)) for c in range(len(classes))]
    cuts = [max(1, round(share * len(row))) for row in rows]
    held = np.sort(np.concatenate([row[:n] for row, n in zip(rows, cuts, strict=True)]))
    kept = np.setdiff1d(np.arange(len(whole.y)), held)
    train, test = (Examples(taken(whole.x, part), whole.y[part]) for part in (kept, held))
    return train, test, f"hold-out: {100 * len(held) / len(whole.y):.0f} % of the given examples, stratified"


def taken(x: Tensor, rows: np.ndarray) -> Tensor:
    """The rows `x[rows]`, never more of them in memory than `gathered` keeps there."""
    return tensor(gathered((x.numpy()[rows[some]] for some in pieces(x[: len(rows)])), len(rows)))


def npz(path: Path) -> Parts:
    """The arrays of a NumPy file, under the names in `KEYS`; whatever else it holds is left alone."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    with path.open("rb") as opened:  # not by np.load, which leaves a damaged file open
        try:
            file = np.load(opened, allow_pickle=False)
        except DAMAGE as error:
            raise ValueError(f"{path} is damaged, or no npz file: {error}") from None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} holds a single array; expected an npz file with x and y")
        found = {role: key for role, keys in KEYS.items() for key in keys if key in file}
        if not {"x", "y"} <= found.keys() or ("x_test" in found) != ("y_test" in found):
            raise ValueError(f"{path} has the keys {', '.join(file)}; expected x and y, and both or none of x_test and y_test")
        arrays = {role: member(file, key, path) for role, key in found.items()}
    test = Given(f"{path}: the test", arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else None
    return parts(Given(f"{path}: the training", arrays["x"], arrays["y"]), test)


def npy(folder: Path) -> Parts:
    """x_train.npy, y_train.npy and perhaps x_test.npy and y_test.npy of a folder, mapped; whatever else it holds is left alone."""
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    files = [file for file in (folder / f"{role}.npy" for role in ("x_train", "y_train", "x_test", "y_test")) if file.is_file()]
    names = [file.stem for file in files]
    if names not in (["x_train", "y_train"], ["x_train", "y_train", "x_test", "y_test"]):
        listed = ", ".join(file.name for file in files) or "none of its arrays"
        raise ValueError(f"{folder} holds {listed}; expected x_train.npy and y_train.npy, and both or none of x_test.npy and y_test.npy")
    arrays = [opened(file) for file in files]
    test = Given(f"{folder}: the test", *arrays[2:]) if arrays[2:] else None
    return parts(Given(f"{folder}: the training", *arrays[:2]), test)._replace(files=files)


def opened(file: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(file, mode="r")
    except (SyntaxError, TokenError, TypeError, ValueError) as error:
        if "Python objects" in str(error):
            raise ValueError(f"{file} holds Python objects; save numbers, or text as {file.stem}.astype(str)") from None
        raise ValueError(f"{file} is damaged, or no npy file: {error}") from None


def member(file: Any, key: str, path: Path) -> np.ndarray:
    try:
        return file[key]
    except DAMAGE as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path}: {key} holds Python objects; save numbers, or text as {key}.astype(str)") from None
        raise ValueError(f"{path} is damaged: cannot read {key}: {error}") from None


def datasets(train: Any, test: Any | None, quiet: bool) -> Parts:
    names = getattr(train, "classes", None)
    names = list(names) if isinstance(names, (list, tuple)) else None
    return parts(decoded(train, "the training", quiet), None if test is None else decoded(test, "the test", quiet), names)


def decoded(source: Any, what: str, quiet: bool) -> Given:
    """All pairs of a map-style dataset, one after the other; dictionaries as the Hugging Face library gives them will do."""
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(source, (Tensor, np.ndarray, dict)):
        expected = "a known name, npz:PATH, npy:FOLDER, arrays (x, y), or a dataset with a length"
        raise ValueError(f"{type(source).__name__} is no data; expected {expected}")
    labels: list[Any] = []

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for i in watched(range(len(source)), len(source), f"decoding {what} part", quiet):
            picture, label = pair(source[i], f"{what} item {i}")
            labels.append(label.tolist() if hasattr(label, "tolist") else label)
            yield f"{what} image {i}", image(picture, f"{what} image {i}")

    return Given(what, stacked(pictures(), len(source)), labels)


def pair(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, dict):
        item = [next((item[key] for key in keys if key in item), None) for keys in (IMAGES, LABELS)]
    if not isinstance(item, (tuple, list)) or len(item) != 2 or item[0] is None or item[1] is None:
        raise ValueError(f"{what} is no pair of an image and a label")
    return item[0], item[1]


def is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, list, tuple)) or hasattr(value, "__array__")


def name_of(dataset: Any) -> str:
    return type(dataset).__name__.lower()
