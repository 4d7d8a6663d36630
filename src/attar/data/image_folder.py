"""Pictures in a folder for each class, perhaps within a folder for each part; only read, never written to."""

import hashlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import __version__ as PILLOW

from attar.data.check import Found, Given, Judge, Parts, list_some
from attar.data.decoded_cache import Kept, keep_decoded, load_decoded, place_decoded
from attar.data.decoding import Encoded, decode_pictures, is_picture, say_left_out
from attar.data.on_disk import LIMIT, as_tensor
from attar.data.reading import Reading
from attar.data.splits import PARTS, choose_parts
from attar.data.task import Examples

# What systems leave beside pictures. Names that begin with a dot are left alone too.
LITTER = ("__macosx", "@eadir", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
# Files that are meant to be pictures, so that one whose content is none is damaged.
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm")
FOLDER = "folder"  # as groups that are folders are called
PART_NAMES = {name for names in PARTS.values() for name in names}
LOG = logging.getLogger("attar")


class Part(NamedTuple):
    """The pictures of each class, and what the part is called."""

    folder: Path
    what: str
    classes: dict[str, list[Path]]

    @property
    def files(self) -> list[tuple[str, Path]]:
        """All pictures with their classes, in the order of both names."""
        return [(name, file) for name in sorted(self.classes) for file in self.classes[name]]


def read_folder(folder: Path, reading: Reading) -> Found:
    """The pictures of class folders, whose names are the classes, in alphabetical order.

    They are decoded once: the cache knows them by path, size and time of change. Raises `ValueError` naming the folder
    or file where something is not as it should be.
    """
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    train, test, judge = find_parts(folder, reading)
    check_classes(train, test)
    parts = [train, test] if test else [train]
    place = place_decoded("folder", (str(folder.resolve()), reading.judge, reading.held_out, reading.decoding, PILLOW))
    state = describe_state(parts)
    kept = load_decoded(place, str(folder), state)
    if kept is not None:
        return give_groups(take_kept(kept, parts, judge), parts, kept.left_out, reading.group)
    decoded = [decode_part(part, sorted(train.classes), reading) for part in parts]
    found = Found(decoded[0][0], decoded[1][0] if test else None, sorted(train.classes), judge)
    if sum(given.x.nbytes for given, _ in decoded) <= LIMIT:  # what is larger is on the disk already, to be read there
        keep_decoded(place, to_keep(found, [damaged for _, damaged in decoded]), state)
    return give_groups(found, parts, [damaged for _, damaged in decoded], reading.group)


def give_groups(found: Found, parts: list[Part], damaged: Sequence[list[str]], group: str | None) -> Found:
    """The same with the groups of the pictures, if these are asked for. `damaged` names those that were left out."""
    if group is None:
        return found
    if group != FOLDER:
        raise ValueError(f"groups are {group!r}, but those of {parts[0].folder} are named by folders: say {FOLDER!r}")
    names = [name_groups(part, set(out)) for part, out in zip(parts, damaged, strict=False)]
    test = found.test and found.test._replace(group=names[-1])
    return found._replace(train=found.train._replace(group=names[0]), test=test)


def name_groups(part: Part, damaged: set[str]) -> list[str]:
    """The folder below the class's own in which each picture lies. Raises `ValueError` where one lies in none."""
    names = []
    for _, file in part.files:
        if str(file) not in damaged:
            _, *below, _ = file.relative_to(part.folder).parts
            if not below:
                raise ValueError(f"{file} is of no group; expected {part.folder / 'CLASS' / 'GROUP' / 'PICTURE'}")
            names.append(below[0])
    return names


def find_parts(folder: Path, reading: Reading) -> tuple[Part, Part | None, Judge]:
    """The part that trains and the one that judges; the folder itself trains where its folders are classes."""
    names = [entry.name for entry in list_entries(folder) if entry.is_dir()]
    parts = [name for name in names if name.casefold() in PART_NAMES]
    if parts and parts != names and any(holds_folders(folder / name) for name in parts):
        told = f"{folder} holds {list_some(parts)}, as parts are called, beside other folders"
        raise ValueError(f"{told}: move those elsewhere, or read one part as folder:{folder / parts[0]}")
    if not parts or parts != names:  # a class may be called `train`, and be of vehicles
        if reading.judge == "validation":
            raise ValueError(f"split is validation, but {folder} has no parts, only the folders {list_some(names)}")
        return list_part(folder, f"{folder}: the training"), None, "test"
    chosen = choose_parts(names, str(folder), reading)
    train = list_part(folder / chosen.train, f"{folder}: the training")
    if chosen.test is None:
        return train, None, "test"
    return train, list_part(folder / chosen.test, f"{folder}: the {chosen.judge}"), chosen.judge


def list_part(folder: Path, what: str) -> Part:
    """The pictures below each class folder. What is none is left alone, which is logged.

    Raises `ValueError` where there are no class folders, pictures beside them, or a class without a picture.
    """
    entries = list_entries(folder)
    inside = [entry for entry in entries if entry.is_dir()]
    beside = [entry for entry in entries if not entry.is_dir()]
    expected = f"expected a folder for each class, as {folder / 'CLASS' / 'PICTURE'}"
    if loose := [file.name for file in beside if is_meant(file)]:
        where = "beside its class folders" if inside else "and no class folders"
        raise ValueError(f"{folder} holds pictures {where} ({list_some(loose, 3)}); {expected}")
    if not inside:
        raise ValueError(f"{folder} holds no class folders; {expected}")
    classes: dict[str, list[Path]] = {}
    others = beside
    for entry in inside:
        files = list(walk(entry))
        pictures = [file for file in files if is_meant(file)]
        others += [file for file in files if file not in pictures]
        if not pictures:
            raise ValueError(f"{entry} holds no pictures, and so is no class")
        # One file system spells an accent as a letter of its own, and another does not.
        classes.setdefault(unicodedata.normalize("NFC", entry.name), []).extend(pictures)
    if others:
        names = list_some([str(file.relative_to(folder)) for file in others])
        LOG.warning(f"{folder}: {len(others)} files that are no pictures are left alone: {names}")
    return Part(folder, what, classes)


def list_entries(folder: Path) -> list[Path]:
    """Files and folders, in the order of their names, without what systems leave there."""
    return sorted(e for e in folder.iterdir() if not e.name.startswith(".") and e.name.casefold() not in LITTER)


def holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in list_entries(folder))


def walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files below a class folder. Raises `ValueError` where a link leads nowhere or around in a circle."""
    if folder.resolve() in above:
        raise ValueError(f"{folder} is a link to a folder in which it lies")
    for entry in list_entries(folder):
        if entry.is_dir():
            if entry.name.casefold() in PARTS["train"]:
                raise ValueError(f"{folder} holds a folder {entry.name}: parts hold classes, and not the other way")
            yield from walk(entry, (*above, folder.resolve()))
        elif entry.is_file():
            yield entry
        else:
            raise ValueError(f"{entry} is {'a link to nothing' if entry.is_symlink() else 'no regular file'}")


def is_meant(file: Path) -> bool:
    """Whether a file is a picture, or a damaged one, by its content and else by its ending."""
    return file.suffix.lower() in ENDINGS or (file.is_file() and is_picture(file))


def check_classes(train: Part, test: Part | None) -> None:
    """Raises `ValueError` where there is but one class, or the test part has another."""
    if len(train.classes) < 2:
        raise ValueError(f"{train.folder} holds one class folder, {list_some(list(train.classes))}: two are needed")
    if test and (strange := sorted(test.classes.keys() - train.classes.keys())):
        raise ValueError(f"{test.folder} holds class folders that {train.folder} does not: {list_some(strange)}")


def describe_state(parts: list[Part]) -> str:
    """A hash of the names, sizes and times of change of all files."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        for name, file in part.files:
            told = file.stat()
            # Both times: a copy may bring its own time of writing, and old systems keep no other.
            digest.update(repr((part.what, name, str(file), told.st_size, told.st_mtime_ns, told.st_ctime_ns)).encode())
    return digest.hexdigest()


def decode_part(part: Part, classes: list[str], reading: Reading) -> tuple[Given, list[str]]:
    """The images of a part with codes for labels, and the names of damaged ones that were left out."""
    files = part.files
    codes = {name: code for code, name in enumerate(classes)}

    def read() -> Iterator[Encoded]:
        return (Encoded(str(file), file, codes[name]) for name, file in files)

    made = decode_pictures(read, len(files), reading.decoding, f"decoding {part.what} part", reading.quiet)
    left = Counter(made.y)
    if lost := [name for name in sorted(part.classes) if not left[codes[name]]]:
        raise ValueError(f"{part.folder / lost[0]} holds no picture that can be decoded")
    return Given(part.what, made.x, np.array(made.y)), made.damaged


def to_keep(found: Found, damaged: list[list[str]]) -> Kept:
    train, test = (given and Examples(as_tensor(given.x), as_tensor(given.y)) for given in (found.train, found.test))
    assert train is not None and found.names is not None
    return Kept(Parts(train, test, tuple(found.names)), (damaged[0], damaged[1] if test else []))


def take_kept(kept: Kept, parts: list[Part], judge: Judge) -> Found:
    """What was decoded before; that some was left out is said again."""
    examples = [kept.parts.train, *filter(None, [kept.parts.test])]
    for part, damaged in zip(parts, kept.left_out, strict=False):
        say_left_out(damaged, len(part.files))
    train, *test = (Given(part.what, each.x, each.y) for part, each in zip(parts, examples, strict=True))
    return Found(train, test[0] if test else None, kept.parts.classes, judge)


def holds_class_folders(path: Path) -> bool:
    """Whether a path is a folder with pictures in folders below it, as far as a look at the first files tells."""
    if not path.is_dir():
        return False
    folders = (entry for entry in list_entries(path) if entry.is_dir())
    return any(is_meant(file) for folder in folders for file in islice(walk(folder), 10))
