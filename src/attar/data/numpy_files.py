"""NumPy files: one npz archive, or a folder of npy arrays that may be larger than memory."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from attar.data.check import Found, Given, Judge
from attar.data.groups import check_column
from attar.data.npy_header import check_header
from attar.data.on_disk import free_memory
from attar.data.reading import Reading
from attar.wording import size

LONGEST = 200  # letters of what NumPy says of a broken header, all of which it quotes
JUDGES: dict[Judge, tuple[str, str]] = {"test": ("x_test", "y_test"), "validation": ("x_val", "y_val")}


def name_validation(*kinds: str) -> tuple[str, ...]:
    parts = ("val", "valid", "validation")
    return tuple(name for part in parts for kind in kinds for name in (f"{kind}_{part}", f"{part}_{kind}"))


# Each role's documented name is its own; these stand in for one that is missing.
STAND_INS = {
    "x": ("x_train", "images", "train_images"),
    "y": ("y_train", "labels", "train_labels"),
    "x_test": ("test_images",),
    "y_test": ("test_labels",),
    "x_val": name_validation("x", "images")[1:],
    "y_val": name_validation("y", "labels")[1:],
}


def read_npz(path: Path, reading: Reading) -> Found:
    """The arrays of a NumPy file, under the names that `find_key` knows; whatever else it holds is left alone."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    judge = reading.judge
    with open_zip(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        found = {role: find_key(role, keys, path) for role in ("x", "y", *JUDGES[judge])}
        if missing(list(found.values()), judge):
            told = f"x and y, and {'both or none of ' if judge == 'test' else ''}{' and '.join(JUDGES[judge])}"
            raise ValueError(f"{path} has the keys {', '.join(keys)}; expected {told}")
        for key in filter(None, found.values()):
            if keys.count(key) > 1:  # as appended to an archive; which of them is meant, nobody can tell
                raise ValueError(f"{path} holds {key} {keys.count(key)} times: write the file anew")
        say_unused(path, keys, judge, found[JUDGES[judge][0]])
        arrays = [read_member(archive, key, path) for key in found.values() if key]
        named = name_groups(reading.group, "", keys, path, judge, bool(arrays[2:]))
        groups = [read_member(archive, key, path) for key in named]
    return give(path, arrays, groups, judge)


def read_npy(folder: Path, reading: Reading) -> Found:
    """x_train.npy, y_train.npy and perhaps x_test.npy and y_test.npy of a folder, mapped.

    Whatever else it holds is left alone.
    """
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    judge = reading.judge
    stems = [file.stem for file in folder.glob("*.npy") if file.is_file()]
    own = [role if role in stems else None for role in ("x_train", "y_train", *JUDGES["test"])]
    if judge == "validation":
        own[2:] = [find_key(role, stems, folder) for role in JUDGES[judge]]
    found = [stem for stem in own if stem]
    if missing(own, judge):
        listed = ", ".join(f"{stem}.npy" for stem in found) or "none of its arrays"
        told = f"x_train.npy and y_train.npy, and {'both or none of ' if judge == 'test' else ''}"
        raise ValueError(f"{folder} holds {listed}; expected {told}{' and '.join(f'{r}.npy' for r in JUDGES[judge])}")
    arrays = [map_file(folder / f"{stem}.npy") for stem in found]
    say_unused(folder, stems, judge, own[2])
    named = name_groups(reading.group, "_train", stems, folder, judge, bool(arrays[2:]))
    return give(folder, arrays, [map_file(folder / f"{stem}.npy") for stem in named], judge)


def give(place: Path, arrays: list[np.ndarray], groups: list[np.ndarray], judge: Judge) -> Found:
    """Images and labels for training, and perhaps those of the part that judges; of both their groups, if any."""
    test = Given(f"{place}: the {judge}", *arrays[2:], *groups[1:]) if arrays[2:] else None
    return Found(Given(f"{place}: the training", *arrays[:2], *groups[:1]), test, judge=judge)


def name_groups(
    group: str | None, train: str, names: Sequence[str], place: Path, judge: Judge, judged: bool
) -> list[str]:
    """The arrays of the groups of both parts, called as those of the labels are. Raises `ValueError` where one lacks.

    `train` is the ending of the training part's, and `judged` whether there is a part that judges.
    """
    if group is None:
        return []
    wanted = [f"{group}{train}", *([group + JUDGES[judge][1].removeprefix("y")] if judged else [])]
    for name in wanted:
        check_column(name, names, str(place))
    return wanted


def missing(found: list[str | None], judge: Judge) -> bool:
    """Whether images or labels lack; a test part may lack altogether."""
    *training, x, y = found
    return not all(training) or bool(x) != bool(y) or (judge == "validation" and not x)


def find_key(role: str, names: Iterable[str], place: Path) -> str | None:
    """The array of that role, or `None`. Raises `ValueError` where it could be either of two."""
    found = [role] if role in names else [name for name in STAND_INS[role] if name in names]
    if len(found) > 1:
        raise ValueError(f"{place} has both {found[0]} and {found[1]}: call the one to be read {role}")
    return found[0] if found else None


def say_unused(place: Path, names: Iterable[str], judge: Judge, used: str | None) -> None:
    """One logged sentence about a validation part, or a test part of another name: nobody shall believe it was used."""
    known = {name for role in JUDGES["validation"] for name in (role, *STAND_INS[role])}
    if judge != "validation" and (unused := sorted(known & set(names))):
        how = 'give load_data split="validation", or --split validation'
        told = f"a validation part is not used; to test on it, {how}"
        logging.getLogger("attar").warning(f"{place} has {' and '.join(unused)}: {told}")
    tests = {name for kind in ("x", "y", "images", "labels") for name in (f"{kind}_test", f"test_{kind}")}
    if not used and (others := sorted(tests & set(names))):
        told = f"not used, as a test part is called {' and '.join(JUDGES['test'])}"
        logging.getLogger("attar").warning(f"{place} has {' and '.join(others)}: {told}")


def map_file(file: Path) -> np.ndarray:
    damaged = f"{file} is damaged, or no npy file"
    with naming(damaged), file.open("rb") as opened:
        header = check_header(opened, file.stat().st_size)
    refuse_objects(header, str(file), file.stem)
    with naming(damaged):
        return np.lib.format.open_memmap(file, mode="r")  # not np.load, which would also take a zip or a pickle


def open_zip(path: Path) -> ZipFile:
    with path.open("rb") as opened:
        if opened.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{path} holds a single array; expected an npz file with x and y")
    with naming(f"{path} is damaged, or no npz file"):
        return ZipFile(path)


def read_member(archive: ZipFile, key: str, path: Path) -> np.ndarray:
    """An array of an archive. Raises `ValueError` before reading where the memory cannot hold it."""
    damaged = f"{path} is damaged: cannot read {key}"
    with naming(damaged):
        member = archive.getinfo(f"{key}.npy")
        with archive.open(member) as opened:
            header = check_header(opened, member.file_size)
    refuse_objects(header, f"{path}: {key}", key)
    if member.file_size > (free := free_memory()):
        larger = f"{size(member.file_size)}, more than the {size(int(free))} of memory that are free"
        raise ValueError(f"{path}: {key} unpacks to {larger}: as npy:FOLDER it may be larger than memory")
    with naming(damaged), archive.open(member) as opened:
        return np.lib.format.read_array(opened, allow_pickle=False)  # a pickle may run any code


def refuse_objects(dtype: np.dtype, what: str, name: str) -> None:
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects; save numbers, or text as {name}.astype(str)")


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever is raised for a broken, encrypted or lying file becomes one `ValueError` that begins with `what`."""
    try:
        yield
    except MemoryError:  # no fault of the file
        raise
    except Exception as error:  # of NumPy, of zipfile and of what unpacks: of more types than these document
        told = str(error).partition("\n")[0][:LONGEST] or type(error).__name__
        raise ValueError(f"{what}: {told}") from None
