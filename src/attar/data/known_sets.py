"""Known data sets: what the literature assumes of them, and reading them where their files lie."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attar.data import parquet, torchvision_files
from attar.data.check import Given, Parts, check_parts
from attar.data.decoded_cache import Kept, keep_decoded, load_decoded, place_decoded
from attar.data.measure import moments
from attar.data.normalisation import Normalisation
from attar.data.skewed import Skewed, colour_backgrounds, colour_digits, grey_some
from attar.data.task import Examples
from attar.files import cache_folder, hash_file

# How far a measured mean may lie from the literature's. Those of two sets of one shape are 0.05 and more apart, except
# that the two CIFARs differ by 0.016.
STRAY = 0.03

Make = Callable[[Examples, Examples], Skewed]


@dataclass(frozen=True)
class Known:
    """What a known set is called, what it holds, and how the literature takes it."""

    title: str
    holds: str
    shape: tuple[int, int, int]
    flip: bool
    mean: tuple[float, ...] | None = None
    """As the literature normalises, like `std`; `None`: measured."""
    std: tuple[float, ...] | None = None
    source: str | None = None
    """torchvision's class; `None`: scikit-learn's digits."""
    folders: tuple[str, ...] = ()
    """Where Parquet copies lie."""
    held_out: float = 0.1
    """The share of the examples that becomes the test part, where none came with them."""
    classes: int = 10
    made_of: str | None = None
    """The known set that it is made from, if any, and how."""
    make: Make | None = None
    grouped_by: str = ""
    """What its groups are, if it has any."""

    @property
    def normalisation(self) -> Normalisation | None:
        return Normalisation(self.mean, self.std) if self.mean and self.std else None

    @property
    def about(self) -> str:
        c, h, w = self.shape
        return f"{self.title}: {self.holds}, {h}x{w} {'grey' if c == 1 else 'colour'}"


COLOUR, SKEWED = "colour", "which go with classes in nine of ten training images"


def colored(title: str, holds: str, base: str, make: Make) -> Known:
    """A set of grey images in colours; normalised as FairDD does it."""
    half, flip = (0.5, 0.5, 0.5), base == "fashion-mnist"
    return Known(title, f"{holds}, {SKEWED}", (3, 32, 32), flip, half, half, made_of=base, make=make, grouped_by=COLOUR)


DATASETS = {
    # A fifth of them for the test: a tenth would be 18 images a class.
    "digits": Known(
        "Digits", "1,797 handwritten digits, shipped with scikit-learn", (1, 8, 8), flip=False, held_out=0.2
    ),
    "mnist": Known("MNIST", "70,000 handwritten digits", (1, 28, 28), False, (0.1307,), (0.3081,), "MNIST", ("mnist",)),
    "fashion-mnist": Known(
        title="Fashion-MNIST",
        holds="70,000 articles of clothing, 10 classes",
        shape=(1, 28, 28),
        flip=True,
        mean=(0.2861,),
        std=(0.3530,),
        source="FashionMNIST",
        folders=("fashion-mnist", "fashion_mnist"),
    ),
    "svhn": Known(
        title="SVHN",
        holds="99,289 digits of house numbers",
        shape=(3, 32, 32),
        flip=False,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        source="SVHN",
        folders=("svhn", "cropped_digits"),
    ),
    "cifar10": Known(
        title="CIFAR-10",
        holds="60,000 photographs, 10 classes",
        shape=(3, 32, 32),
        flip=True,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),  # means of each image's own; over all pixels 0.2470, 0.2435, 0.2616
        source="CIFAR10",
        folders=("cifar10",),
    ),
    "cifar100": Known(
        title="CIFAR-100",
        holds="60,000 photographs, 100 classes",
        shape=(3, 32, 32),
        flip=True,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        source="CIFAR100",
        folders=("cifar100",),
        classes=100,
    ),
    "colored-mnist-fg": colored("Colored-MNIST(FG)", "70,000 digits in ten colours", "mnist", colour_digits),
    "colored-mnist-bg": colored("Colored-MNIST(BG)", "70,000 digits on ten colours", "mnist", colour_backgrounds),
    "colored-fashion-mnist-fg": colored(
        "Colored-Fashion-MNIST(FG)", "70,000 articles of clothing in ten colours", "fashion-mnist", colour_digits
    ),
    "colored-fashion-mnist-bg": colored(
        "Colored-Fashion-MNIST(BG)", "70,000 articles of clothing on ten colours", "fashion-mnist", colour_backgrounds
    ),
    "cifar10-s": Known(
        title="CIFAR10-S",
        holds=f"70,000 photographs, grey or coloured, {SKEWED}",
        shape=(3, 32, 32),
        flip=True,
        mean=(0.4891, 0.4845, 0.4671),
        std=(0.2428, 0.2408, 0.2510),
        made_of="cifar10",
        make=grey_some,
        grouped_by=COLOUR,
    ),
}


def read_known(name: str, root: Path | None, download: bool, quiet: bool) -> Parts:
    """The known set of that name, from `root` (default: the folder `data` of the cache), decoded once and then cached.

    Raises `ValueError` where its files are missing, damaged, or those of another set.
    """
    known = DATASETS[name]
    if known.made_of and known.make:
        base = read_known(known.made_of, root, download, quiet)
        assert base.test is not None
        train, test, groups = known.make(base.train, base.test)
        return Parts(train, test, base.classes, groups=groups)
    if known.source is None:
        return read_digits()
    root = root or cache_folder() / "data"
    found = locate(known, root)
    if found is None and download:
        torchvision_files.download(known.source, root)
        found = locate(known, root)
    if found is None:
        here, there = torchvision_files.describe_places(known.source), parquet.describe_places(known.folders)
        looked = f"{here}, and for train-*.parquet and test-*.parquet there, or in {there}"
        raise ValueError(f"no {known.title} in {root}: looked for {looked}; --download fetches it, --root points at it")
    files, decode = found
    # All of it is read, which takes a quarter of a second for CIFAR. Sizes and times may stay while the content does
    # not, and no time of a file is kept alike on every file system.
    place = place_decoded(name, [(file.name, hash_file(file)) for file in files])
    kept = load_decoded(place, name)
    if kept is None:
        kept = Kept(check_known(known, files[0].parent, decode(quiet)))
        keep_decoded(place, kept)
    return kept.parts


Decode = Callable[[bool], Parts]


def locate(known: Known, root: Path) -> tuple[list[Path], Decode] | None:
    """The files of a set under `root`, and how to decode them; torchvision's own layout goes first."""
    assert known.source is not None
    source = known.source
    if files := torchvision_files.locate_files(source, root):
        return files, lambda quiet: check_parts(*torchvision_files.read_files(source, files, quiet))
    if shards := parquet.locate_shards(known.folders, root):
        return shards, lambda quiet: check_parts(*parquet.read_shards(shards, quiet)[:3])
    return None


def check_known(known: Known, folder: Path, found: Parts) -> Parts:
    """Refuses the files of another data set: those of MNIST and Fashion-MNIST, say, have the same names.

    Raises `ValueError` where the shape or the mean of the images, or the number of classes, is another's.
    """
    assert known.mean is not None
    mean, shape = moments(found.train.x)[0], tuple(found.train.x.shape[1:])
    if shape != known.shape:
        raise ValueError(f"{folder} does not hold {known.title}: its images have the shape {shape}, not {known.shape}")
    if len(found.classes) != known.classes:  # CIFAR-100's images have nearly CIFAR-10's mean
        there = len(found.classes)
        raise ValueError(f"{folder} does not hold {known.title}: it has {there} classes, not {known.classes}")
    if max(abs(a - b) for a, b in zip(mean, known.mean, strict=True)) > STRAY:
        shown, expected = ", ".join(f"{m:.4f}" for m in mean), ", ".join(map(str, known.mean))
        raise ValueError(f"{folder} does not hold {known.title}: the mean of its images is {shown}, not {expected}")
    return found


def read_digits() -> Parts:
    """The 1,797 digits of scikit-learn; their values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return check_parts(Given("the digits", np.round(bunch.images * 255 / 16).astype(np.uint8), bunch.target), None)
