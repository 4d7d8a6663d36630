"""The files of torchvision's data sets, read where they lie; nothing is written beside them or fetched unasked."""

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from attar.data.check import Given, watch


@dataclass(frozen=True)
class Layout:
    """`files` and their md5, all in one of `folders` below a root, or in one `archive`.

    The root may itself be an inner folder. All is stated here, although torchvision knows it too: importing that takes
    longer than finding and reading a decoded set.
    """

    files: dict[str, str]
    folders: tuple[str, ...]
    archive: dict[str, str]
    names: tuple[str, ...] | None = None


CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
LAYOUTS = {
    "MNIST": Layout(
        files={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        folders=("MNIST/raw", "raw", "."),
        archive={},
    ),
    "FashionMNIST": Layout(
        files={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        folders=("FashionMNIST/raw", "raw", "."),
        archive={},
        names=CLOTHES,
    ),
    "SVHN": Layout(
        files={
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
        folders=(".", "SVHN", "svhn"),
        archive={},
    ),
    "CIFAR10": Layout(
        files={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        folders=("cifar-10-batches-py", "."),
        archive={"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    ),
    "CIFAR100": Layout(
        files={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        folders=("cifar-100-python", "."),
        archive={"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    ),
}


def locate_files(source: str, root: Path) -> list[Path]:
    """All files of a data set, compressed or not, or its one archive; nothing where any is missing."""
    layout = LAYOUTS[source]
    for folder in layout.folders:
        files = [find_existing(root / folder, name) for name in layout.files]
        if all(files):
            return [file for file in files if file]
    return [root / name for name in layout.archive if (root / name).is_file()]


def find_existing(folder: Path, name: str) -> Path | None:
    both = (folder / name, folder / name.removesuffix(".gz"))  # the packed one first, whose md5 is known
    return next((file for file in both if file.is_file()), None)


def describe_places(source: str) -> str:
    """What `locate_files` looks for, for a person."""
    layout = LAYOUTS[source]
    names = ", ".join(name.replace(".gz", "[.gz]") for name in layout.files)
    folders = " or ".join("the folder itself" if folder == "." else f"{folder}/" for folder in layout.folders)
    return "".join(f"{name}, " for name in layout.archive) + f"{names} (in {folders})"


def download(source: str, root: Path) -> None:
    """Have torchvision download a data set to `root`. Raises `ValueError` where that fails."""
    try:
        dataset = torchvision_class(source)
        root.mkdir(parents=True, exist_ok=True)
        # SVHN alone is fetched part by part.
        for part in ({"split": "train"}, {"split": "test"}) if source == "SVHN" else ({},):
            dataset(root, download=True, **part)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"cannot download {source} to {root}: {error}") from None


def torchvision_class(source: str) -> Any:
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:  # a build for another torch raises RuntimeError
        raise ValueError(f"{source} needs torchvision, which cannot be imported: {error}") from None
    return getattr(datasets, source)


def read_files(source: str, files: list[Path], quiet: bool) -> tuple[Given, Given, tuple[str, ...] | None]:
    """Training and test part, and the names of the classes. Raises `ValueError` naming a damaged file."""
    layout = LAYOUTS[source]
    for file in files:
        expected = (layout.files | layout.archive).get(file.name)
        if expected and expected != md5(file):  # no md5 is known of unpacked MNIST files
            raise ValueError(f"{file} is damaged: its md5 is not {expected}")
    read = {"SVHN": read_svhn, "CIFAR10": read_cifar, "CIFAR100": read_cifar}.get(source, read_mnist)
    (x, y), (x_test, y_test), names = read(source, files, quiet)
    folder = files[0].parent
    return Given(f"{folder}: the training", x, y), Given(f"{folder}: the test", x_test, y_test), names or layout.names


def md5(file: Path) -> str:
    with file.open("rb") as opened:
        # Against damage, not against malice: without saying so, systems with strict rules refuse md5.
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


Pair = tuple[Any, Any]
Read = tuple[Pair, Pair, tuple[str, ...] | None]


def read_mnist(source: str, files: list[Path], quiet: bool) -> Read:
    x, y, x_test, y_test = (read_idx(file) for file in watch(files, len(files), f"decoding {source}", quiet))
    return (x, y), (x_test, y_test), None


def read_idx(file: Path) -> np.ndarray:
    """Bytes in the format of MNIST: two zeros, a type (8: bytes), the number of axes, their lengths, the values."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if content[:3] != b"\0\0\x08":
            raise ValueError("not an idx file of bytes")
        shape = np.frombuffer(content, ">i4", content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (EOFError, IndexError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{file} is damaged: {error}") from None


def read_svhn(source: str, files: list[Path], quiet: bool) -> Read:
    """The digit 0 has the label 10 in the files."""
    from scipy.io import loadmat

    loaded = [loadmat(file) for file in watch(files, len(files), f"decoding {source}", quiet)]
    train, test = ((part["X"].transpose(3, 0, 1, 2), part["y"] % 10) for part in loaded)
    return train, test, None


def read_cifar(source: str, files: list[Path], quiet: bool) -> Read:
    """Read by torchvision, from a scratch folder where the files are linked or unpacked.

    They are pickles; torchvision opens them only where their md5 is the official one.
    """
    dataset = torchvision_class(source)
    with TemporaryDirectory(prefix="attar-") as scratch:
        inner = Path(scratch) / dataset.base_folder
        inner.mkdir()
        for file in files:
            if file.name in LAYOUTS[source].archive:
                unpack(file, inner, LAYOUTS[source].files)
            else:
                link_file(file, inner / file.name)
        # A generator: each part is read while the progress is watched, not before.
        read: Iterator[Any] = (dataset(scratch, train=train) for train in (True, False))
        train, test = watch(read, 2, f"decoding {source}", quiet)
    return (train.data, train.targets), (test.data, test.targets), tuple(train.classes)


def unpack(archive: Path, folder: Path, names: dict[str, str]) -> None:
    """Only the named files, in one pass, whatever else the archive would write."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name  # no path of the archive's choosing
            packed = tar.extractfile(member) if name in names else None
            if packed is not None:
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(packed, target)


def link_file(file: Path, target: Path) -> None:
    try:
        target.symlink_to(file.resolve())
    except OSError:  # a system without links
        shutil.copyfile(file, target)
