"""Data from anywhere: known sets on disk, NumPy files, arrays and datasets; each refusal names what is wrong."""

import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import tarfile
import urllib.request
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import attar
from attar.data import known_sets as known
from attar.data import on_disk as mapped
from attar.data import parquet
from attar.data import torchvision_files as archives
from attar.data.check import check_images, moments, watch
from attar.data.known_sets import DATASETS
from attar.data.load import load_data
from attar.data.task import Task
from attar.files import cache_folder
from attar.rng import Rng

REAL = Path(__file__).parents[2] / "shared" / "data"
IDX = [name.removesuffix(".gz") for name in archives.LAYOUTS["MNIST"].files]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of each test's own, and no network."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "cache"))

    def refuse(*args, **kwargs):
        raise AssertionError("a test went to the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def noise(*shape: int, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, round(510 * mean) + 1, shape).astype(np.uint8)


def turns(n: int, classes: int = 2) -> np.ndarray:
    return np.arange(n) % classes


def listing(folder: Path) -> list[tuple]:
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in [folder, *folder.rglob("*")])


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, monkeypatch=None, mean: float = 0.1307, side: int = 28, source: str = "MNIST"
) -> list[Path]:
    """Four files of an MNIST; compressed, with their md5 for the official ones, where `monkeypatch` is given."""
    folder.mkdir(parents=True)
    arrays = noise(40, side, side, mean=mean), turns(40, 10), noise(20, side, side, mean=mean), turns(20, 10)
    for name, values in zip(IDX, arrays, strict=True):
        (folder / name).write_bytes(idx_bytes(values))
        if monkeypatch:
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    files = sorted(folder.iterdir())
    if monkeypatch:
        official(monkeypatch, source, files)
    return files


def official(monkeypatch, source: str, files: list[Path], **other) -> None:
    layout = archives.LAYOUTS[source]
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in files}
    wanted = {name: sums.get(name, md5) for name, md5 in layout.files.items()}
    monkeypatch.setitem(archives.LAYOUTS, source, dataclasses.replace(layout, files=wanted, **other))


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, pixels, y, columns=("img", "label"), names=None, cells=None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = cells or [{"bytes": encoded(p), "path": None} for p in pixels]
    features = {columns[0]: {"_type": "Image"}, columns[1]: {"_type": "ClassLabel", "names": names}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            columns[0]: pa.array(cells, kind),
            columns[1]: pa.array([None if v is None else int(v) for v in y], pa.int64()),
        }
    )
    meta = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    pq.write_table(table.replace_schema_metadata(meta), path, row_group_size=8)
    return path


def write_cifar(folder: Path, name: str = "cifar10", **options) -> list[Path]:
    classes = 100 if name == "cifar100" else 10
    shape = DATASETS[name].shape
    x = (
        np.stack([noise(classes * 2, 32, 32, mean=m) for m in DATASETS[name].mean], 3)
        if shape[0] == 3
        else noise(20, 28, 28, mean=0.13)
    )
    return [
        write_parquet(folder / f"{part}-00000-of-00001.parquet", x, turns(len(x), classes), **options)
        for part in ("train", "test")
    ]


# --- the front door ---------------------------------------------------------------------------------------------------


def test_a_task_is_returned_as_it_is(task):
    assert load_data(task) is task


def test_digits():
    task = load_data("digits")
    assert (task.name, task.shape, len(task.classes), task.flip) == ("digits", (1, 8, 8), 10, False)
    assert task.split == "hold-out: 20 % of the given examples, stratified"
    assert len(task.train.y) + len(task.test.y) == 1797
    assert task.train.x.dtype == torch.uint8 and task.train.x.max() == 255
    assert task.test.y.bincount().min() >= 34
    assert torch.allclose(task.normalise(task.train.x).mean(), torch.zeros(()), atol=1e-5)
    assert task.fingerprint == load_data("digits").fingerprint


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown data set 'cifar'.*did you mean 'cifar10'\?.*digits, mnist.*npz:PATH"
    ):
        load_data("cifar")


def test_every_known_set_describes_itself_in_a_line():
    assert list(DATASETS) == ["digits", "mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"]
    for entry in DATASETS.values():
        assert "\n" not in entry.about and entry.title in entry.about
    assert DATASETS["mnist"].about == "MNIST: 70,000 handwritten digits, 28x28 grey"


def test_the_network_is_the_one_asked_for():
    assert load_data("digits", network="mlp").network.name == "MLP"
    with pytest.raises(ValueError, match="unknown network"):
        load_data("digits", network="mpl")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ATTAR_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/attar"),
        ({"HOME": "/c"}, "/c/.cache/attar"),
        ({"ATTAR_CACHE": "~/d", "HOME": "/c"}, "/c/d"),
    ],
)
def test_cache_folder(monkeypatch, variables, folder):
    for name in ("ATTAR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 2, 3), "a tuple of 3 is no data"),
        (7, "int is no data"),
        ({"x": 1}, "dict is no data"),
        (noise(4, 8, 8), "ndarray is no data"),
        (iter([]), "is no data"),
    ],
)
def test_what_is_no_data(data, message):
    with pytest.raises(ValueError, match=message):
        load_data(data)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_arrays_with_a_test_part():
    x, y, x_test, y_test = noise(12, 8, 6), turns(12), noise(4, 8, 6), turns(4)
    before = x.copy()
    task = load_data((x, y, x_test, y_test))
    assert isinstance(task, Task) and task.split == "test set" and task.name == "arrays"
    assert task.shape == (1, 8, 6) and task.train.y.dtype == torch.int64 and not task.flip
    assert np.array_equal(task.train.x[:, 0].numpy(), x) and np.array_equal(task.test.x[:, 0].numpy(), x_test)
    task.train.x.zero_()
    assert np.array_equal(x, before)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("shape", [(4, 8, 6), (4, 8, 6, 1), (4, 1, 8, 6), (4, 8, 6, 3), (4, 3, 8, 6)])
def test_layouts_are_seen_from_the_shape(make, shape):
    x = noise(*shape)
    read = check_images(make(x), "x")
    channels = 3 if 3 in shape else 1
    assert read.shape == (4, channels, 8, 6)
    expected = x.reshape(4, 1, 8, 6) if channels == 1 else (x if shape[1] == 3 else x.transpose(0, 3, 1, 2))
    assert np.array_equal(read.numpy(), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, bool, torch.float64, torch.bfloat16])
def test_floats_become_float32(dtype):
    x = (
        torch.rand(4, 8, 8).to(dtype)
        if isinstance(dtype, torch.dtype)
        else np.random.default_rng(0).random((4, 8, 8)).astype(dtype)
    )
    read = check_images(x, "x")
    assert read.dtype == torch.float32 and read.min() >= 0 and read.max() <= 1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_integers_become_bytes(dtype):
    assert torch.equal(check_images(noise(4, 8, 8).astype(dtype), "x"), check_images(noise(4, 8, 8), "x"))


def test_read_only_arrays_and_lists_are_copied():
    x = noise(4, 8, 8)
    x.flags.writeable = False
    assert torch.equal(check_images(x, "x"), check_images(x.tolist(), "x"))


def with_value(value: float, *, where=(2, 3, 4)) -> np.ndarray:
    x = np.zeros((4, 8, 8))
    x[where] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_value(np.nan), "the training check_images hold 1 values that are NaN or infinite, the first in image 2"),
        (with_value(-np.inf), "hold 1 values that are NaN or infinite"),
        (with_value(255), "from 0 to 255.*floats in \\[0, 1\\]: divide them by 255"),
        (with_value(-2.5), "from -2.5 to 0.*undo any normalisation"),
        (with_value(-1).astype(int), "from -1 to 0; expected bytes in 0..255"),
        (with_value(300).astype(int), "from 0 to 300; expected bytes in 0..255"),
        (np.zeros((0, 8, 8)), "the training check_images are empty"),
        ([], "the training check_images are empty"),
        (np.zeros((4, 64)), "have the shape 4x64; expected \\(n, h, w\\)"),
        (np.zeros((4, 1, 1, 8, 8)), "have the shape 4x1x1x8x8"),
        (np.zeros((4, 8, 8, 4)), "4x8x8x4, and so no axis of 1 or 3 channels"),
        (np.zeros((4, 3, 8)), "4x3x8; a side needs at least 4 pixels"),
        (np.full((4, 8, 8), "a"), "are of type <U1; expected bytes"),
        (np.zeros((4, 8, 8), complex), "are of type complex128"),
        ([np.zeros((8, 8)), np.zeros((8, 9))] * 2, "the training check_images differ in shape"),
        (np.zeros((5, 8, 8)), "the training part has 5 check_images, but 4 labels"),
    ],
)
def test_images_that_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        load_data((x, turns(4)))


@pytest.mark.parametrize(
    ("y", "classes", "codes"),
    [
        ([10, 9, 100, 9], ("9", "10", "100"), [1, 0, 2, 0]),
        ([-1, 1, -1, 1], ("-1", "1"), [0, 1, 0, 1]),
        (["b", "a", "10", "9"], ("10", "9", "a", "b"), [3, 2, 0, 1]),
        (np.array(["é", "a"] * 2, object), ("a", "é"), [1, 0, 1, 0]),
        ([b"cat", b"dog"] * 2, ("cat", "dog"), [0, 1, 0, 1]),
        ([2.0, 1.0] * 2, ("1", "2"), [1, 0, 1, 0]),
        ([True, False] * 2, ("False", "True"), [1, 0, 1, 0]),
        (np.array([[3], [1], [3], [1]], np.uint8), ("1", "3"), [1, 0, 1, 0]),
        (torch.tensor([3, 1, 3, 1]), ("1", "3"), [1, 0, 1, 0]),
    ],
)
def test_labels_of_any_kind_keep_their_names_in_order(y, classes, codes):
    task = load_data((noise(4, 8, 8), y, noise(4, 8, 8), y))
    assert task.classes == classes
    assert task.train.y.tolist() == task.test.y.tolist() == codes


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 1.5, 1], "the training labels hold 1.5, at index 2; a class is a whole number or a name"),
        ([0, 1, np.nan, 1], "hold nan, at index 2"),
        ([0, 1, None, 1], "are of type object; expected whole numbers or names"),
        (np.eye(4), "have the shape 4x4; expected one label for each image"),
        (np.array(3), "expected one label for each image"),
        ([5] * 4, "the training labels are all '5': at least two classes are needed"),
        (np.array([0, 1, 2, 3], "datetime64[s]"), "are of type datetime64"),
    ],
)
def test_labels_that_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        load_data((noise(4, 8, 8), y))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (noise(4, 8, 8), [0, 1, 7, 8], "the test labels hold '7', '8', which no training example has"),
        (noise(4, 8, 8), np.arange(10, 14), "hold '10', '11', '12', '13', which"),
        (noise(4, 8, 9), turns(4), "the test check_images are 8x9 grey, but those for training are 8x8 grey"),
        (noise(4, 8, 8, 3), turns(4), "the test check_images are 8x8 colour"),
        (noise(4, 8, 8), turns(3), "the test part has 4 check_images, but 3 labels"),
    ],
)
def test_test_parts_that_do_not_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        load_data((noise(4, 8, 8), turns(4), x, y))


def test_many_strange_labels_are_cut_short():
    with pytest.raises(ValueError, match="'14' and 5 more, which"):
        load_data((noise(10, 8, 8), turns(10), noise(10, 8, 8), np.arange(10, 20)))


# --- hold-out and normalisation ---------------------------------------------------------------------------------------


def test_a_hold_out_is_stratified_and_repeatable():
    y = np.repeat([0, 1, 2], [100, 50, 50])
    task, again = load_data((noise(200, 8, 8), y)), load_data((noise(200, 8, 8), y))
    assert task.test.y.bincount().tolist() == [10, 5, 5] and task.counts.tolist() == [90, 45, 45]
    assert task.split == "hold-out: 10 % of the given examples, stratified"
    assert torch.equal(task.test.x, again.test.x)
    rows = {x.numpy().tobytes() for x in task.train.x}
    assert not any(x.numpy().tobytes() in rows for x in task.test.x)


@pytest.mark.parametrize("counts", [(2, 2), (2, 2, 2, 2, 2), (2, 50), (3, 2, 2), (200, 2)])
def test_a_small_hold_out_leaves_every_class_in_training(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    task = load_data((noise(len(y), 8, 8), y))
    assert task.counts.min() >= 1 and len(task.test.y) >= len(counts)


def test_the_split_says_the_share_that_it_is():
    assert load_data((noise(4, 8, 8), turns(4))).split == "hold-out: 50 % of the given examples, stratified"


def test_a_class_with_one_example_cannot_be_split():
    with pytest.raises(ValueError, match="class 'b' has a single example"):
        load_data((noise(4, 8, 8), ["a", "b", "a", "a"]))


def test_moments_are_those_of_the_training_part_per_channel():
    x = noise(5000, 4, 4, 3)
    mean, std = moments(check_images(x, "x"))
    assert np.allclose(mean, (x / 255).mean((0, 1, 2)), atol=1e-12) and np.allclose(
        std, (x / 255).std((0, 1, 2)), atol=1e-12
    )
    assert np.allclose(moments(check_images(x / 255, "x"))[0], mean, atol=1e-7)
    task = load_data((x[:200], turns(200), x[:10], turns(10)))
    assert (task.mean, task.std) == moments(task.train.x) and task.flip


def test_a_constant_channel_can_still_be_divided_by():
    task = load_data((np.full((4, 8, 8), 7, np.uint8), turns(4)))
    assert task.std == (pytest.approx(1e-3),)
    assert torch.isfinite(task.normalise(task.train.x)).all()


# --- npz --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        ("x", "y", "x_test", "y_test"),
        ("images", "labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_under_any_of_its_names(tmp_path, keys):
    path = tmp_path / "mine.npz"
    arrays = noise(6, 8, 8), np.array(["b", "a"] * 3), noise(2, 8, 8), np.array(["a", "b"])
    np.savez_compressed(path, **dict(zip(keys, arrays, strict=True)), val_images=noise(1, 2, 2))
    task = load_data(f"npz:{path}")
    assert (task.name, task.classes, task.split, task.test.y.tolist()) == ("mine", ("a", "b"), "test set", [0, 1])


def test_npz_without_a_test_part(tmp_path):
    np.savez(tmp_path / "mine.npz", x=noise(40, 8, 8), y=turns(40))
    assert load_data(f"npz:{tmp_path / 'mine.npz'}").split.startswith("hold-out: 10 %")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": noise(4, 8, 8)}, "mine.npz has the keys x; expected x and y"),
        (
            {"x": noise(4, 8, 8), "y": turns(4), "x_test": noise(4, 8, 8)},
            "keys x, y, x_test; expected .* both or none of x_test",
        ),
        (
            {"x": noise(4, 8, 8), "y": np.array(["a", "b"] * 2, object)},
            r"mine.npz: y holds Python objects.*y.astype\(str\)",
        ),
        ({"x": np.full((4, 8, 8), 2.0), "y": turns(4)}, "mine.npz: the training check_images have values from 2 to 2"),
    ],
)
def test_npz_that_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_data(f"npz:{tmp_path / 'mine.npz'}")


def test_npz_that_is_none(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(ValueError, match=r"no such file: .*mine.npz"):
        load_data(f"npz:{path}")
    for content in (b"", b"nonsense", b"PK\3\4 and no zip", pickle.dumps({"x": 1})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mine.npz is damaged, or no npz file"):
            load_data(f"npz:{path}")
    np.savez(path, x=noise(40, 8, 8), y=turns(40))
    whole = path.read_bytes()
    path.write_bytes(whole[:900])
    with pytest.raises(ValueError, match=r"mine.npz is damaged"):
        load_data(f"npz:{path}")
    path.write_bytes(whole[:600] + bytes(40) + whole[640:])
    with pytest.raises(ValueError, match=r"mine.npz is damaged: cannot read x"):
        load_data(f"npz:{path}")
    with path.open("wb") as file:
        np.save(file, noise(4, 8, 8))
    with pytest.raises(ValueError, match=r"mine.npz holds a single array"):
        load_data(f"npz:{path}")
    with pytest.raises(ValueError, match="no such file"):
        load_data(f"npz:{tmp_path}")


# --- npy --------------------------------------------------------------------------------------------------------------


def write_npy(folder: Path, *arrays: np.ndarray) -> str:
    folder.mkdir(exist_ok=True)
    for name, values in zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=False):
        np.save(folder / f"{name}.npy", values)
    return f"npy:{folder}"


@pytest.mark.parametrize("shape", [(40, 8, 6), (40, 8, 6, 3), (40, 3, 8, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_npy_gives_the_bits_of_memory_and_copies_nothing(tmp_path, shape, dtype):
    x = noise(*shape) if dtype == np.uint8 else np.random.default_rng(0).random(shape, np.float32)
    arrays = x, turns(40), x[:6], turns(6)
    lying, held = load_data(write_npy(tmp_path / "mine", *arrays)), load_data(arrays)
    before = listing(tmp_path / "mine")
    assert (lying.name, lying.split) == ("mine", "test set") and lying.on_disk and not held.on_disk
    assert (lying.fingerprint, lying.mean, lying.std) == (held.fingerprint, held.mean, held.std)
    assert torch.equal(lying.indices((1, 0), 9, Rng.of(0)), held.indices((1, 0), 9, Rng.of(0)))
    samples = [task.sample((1, 0), 30, Rng.of(0)) for task in (lying, held)]
    assert torch.equal(*samples) and samples[0].is_contiguous()
    made = [attar.condense(task, "dm", 1, updates=3, batch_real=8) for task in (lying, held)]
    assert torch.equal(made[0].images, made[1].images)
    assert lying.to(torch.device("cpu")).train.x is lying.train.x and listing(tmp_path / "mine") == before


def test_npy_without_a_test_part_is_held_out_as_in_memory(tmp_path, monkeypatch):
    held = load_data((noise(40, 8, 8), turns(40)))
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40))
    monkeypatch.setattr(mapped, "PIECE", 200)
    for limit in (mapped.LIMIT, 0):
        monkeypatch.setattr(mapped, "LIMIT", limit)
        lying = load_data(data)
        assert lying.split == held.split and lying.on_disk == (limit == 0)
        assert lying.fingerprint == held.fingerprint and torch.equal(lying.test.x, held.test.x)


def test_npy_is_measured_once(tmp_path, monkeypatch):
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40), noise(4, 8, 8), turns(4))
    first = load_data(data)
    monkeypatch.setattr("attar.data.load.moments", lambda x: pytest.fail("measured again"))
    second = load_data(data)
    assert (first.mean, first.std, first.fingerprint) == (second.mean, second.std, second.fingerprint)
    monkeypatch.undo()
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "cache"))
    (facts,) = (tmp_path / "cache/decoded").iterdir()
    facts.write_bytes(facts.read_bytes()[:-5])
    assert load_data(data).fingerprint == first.fingerprint
    write_npy(tmp_path / "mine", noise(40, 8, 8, mean=0.1))
    assert load_data(data).mean < first.mean


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            (noise(4, 8, 8),),
            r"mine holds x_train.npy; expected x_train.npy and y_train.npy, and both or none of x_test.npy",
        ),
        ((noise(4, 8, 8), turns(4), noise(4, 8, 8)), "mine holds x_train.npy, y_train.npy, x_test.npy; expected"),
        ((), "mine holds none of its arrays; expected"),
        (
            (noise(4, 8, 8), np.array(["a", "b"] * 2, object)),
            r"y_train.npy holds Python objects.*y_train.astype\(str\)",
        ),
        (
            (with_value(np.nan), turns(4)),
            "mine: the training check_images hold 1 values that are NaN or infinite, the first in image 2",
        ),
        ((with_value(-2.5).astype(np.float32), turns(4)), "mine: the training check_images have values from -2.5 to 0"),
        ((noise(5, 8, 8), turns(4)), "mine: the training part has 5 check_images, but 4 labels"),
        ((noise(4, 8, 8), [5] * 4), "mine: the training labels are all '5'"),
        ((np.zeros((0, 8, 8)), turns(4)), "mine: the training check_images are empty"),
        ((noise(4, 8, 8), turns(4), noise(4, 8, 9), turns(4)), "mine: the test check_images are 8x9 grey"),
    ],
)
def test_npy_that_is_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_data(write_npy(tmp_path / "mine", *arrays))


def test_npy_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"no such folder: .*mine"):
        load_data(f"npy:{tmp_path / 'mine'}")
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40))
    path = tmp_path / "mine/x_train.npy"
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[:90], whole[:-9], b"PK\3\4 and no zip"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x_train.npy is damaged, or no npy file"):
            load_data(data)


def test_other_types_than_bytes_and_floats_are_converted_a_piece_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "LIMIT", 0)
    monkeypatch.setattr(mapped, "PIECE", 200)
    for x in (noise(40, 8, 8).astype(int), np.random.default_rng(0).random((40, 8, 8))):
        lying = load_data(write_npy(tmp_path / "mine", x, turns(40), x, turns(40)))
        assert lying.on_disk and np.array_equal(lying.train.x[:, 0], x.astype(lying.train.x.numpy().dtype))
    with pytest.raises(ValueError, match="hold 2 values that are NaN or infinite, the first in image 21"):
        x[[30, 21], 1, 1] = np.nan
        load_data((x, turns(40)))


# --- datasets ---------------------------------------------------------------------------------------------------------


class Pictures(Dataset):
    """Items as they are given."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def pictures(mode: str = "L", n: int = 6, **options) -> Pictures:
    return Pictures([(Image.fromarray(p).convert(mode), i % 2) for i, p in enumerate(noise(n, 8, 6, 3))], **options)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3)])
def test_datasets_of_pil_images(mode, channels):
    task = load_data(pictures(mode, classes=["no", "yes"]))
    assert task.shape == (channels, 8, 6) and task.classes == ("no", "yes") and task.name == "pictures"
    assert task.train.x.dtype == torch.uint8


def test_a_pair_of_datasets():
    task = load_data((pictures("RGB"), pictures("RGB", 4)))
    assert (len(task.train.y), len(task.test.y), task.split) == (6, 4, "test set")


def test_datasets_of_tensors_and_dictionaries():
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 2
    for data in (
        TensorDataset(x, y),
        [{"img": a, "label": b} for a, b in zip(x.numpy(), y, strict=True)],
        list(zip(x, "abaaab", strict=True)),
    ):
        task = (
            load_data((data, Pictures(list(zip(x, y, strict=True))))) if isinstance(data, Dataset) else load_data(data)
        )
        assert task.shape == (3, 8, 8) and len(task.classes) == 2


def test_datasets_of_hugging_face():
    hub = pytest.importorskip("datasets")
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["no", "yes"])})
    rows = hub.Dataset.from_dict({"image": [p for p, _ in pictures()], "label": turns(6)}, features=features)
    task = load_data((rows, rows))
    assert task.shape == (1, 8, 6) and len(task.test.y) == 6


def test_names_that_do_not_fit_the_labels_are_left_alone():
    assert load_data(pictures(classes=["only"])).classes == ("0", "1")
    assert load_data(pictures(classes=["a", "b", "never seen"])).classes == ("a", "b")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "the training check_images are empty"),
        (
            [(np.zeros((8, 8)), 0), (np.zeros((8, 9)), 1)],
            "the training image 1 is 8x9 float64, but the first is 8x8 float64; all must have one size",
        ),
        (
            [(Image.new("L", (8, 8)), 0), (Image.new("RGB", (8, 8)), 1)],
            "the training image 1 is 8x8x3 uint8, but the first is 8x8 uint8",
        ),
        ([(Image.new("RGBA", (8, 8)), 0)], "the training image 0 has the mode RGBA; convert it to L or RGB"),
        ([np.zeros((8, 8))], "the training item 0 is no pair"),
        ([{"picture": 1, "label": 0}], "the training item 0 is no pair"),
        ([(torch.randn(3, 8, 8), i % 2) for i in range(4)], "undo any normalisation"),
        ([(torch.rand(3, 8, 8), torch.eye(3)[i]) for i in range(3)], "the training labels have the shape 3x3"),
    ],
)
def test_datasets_that_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        load_data(Pictures(items))


def test_decoding_holds_an_image_at_a_time_where_the_set_is_large(tmp_path, monkeypatch):
    class Counted(np.ndarray):
        alive = most = 0

    class Rows(Pictures):
        def __getitem__(self, i):
            weakref.finalize(made := noise(8, 8).view(Counted), lambda: setattr(Counted, "alive", Counted.alive - 1))
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)
            return made, i % 2

    held = load_data(Rows(range(100)))
    Counted.most = 0
    monkeypatch.setattr(mapped, "LIMIT", 0)
    task = load_data(Rows(range(100)))
    assert Counted.most <= 4 and task.on_disk and task.fingerprint == held.fingerprint
    assert not any((tmp_path / "cache/decoded").iterdir())


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch, capsys):
    assert list(watch(range(3), 3, "decoding", False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load_data(pictures())
    assert "decoding" in capsys.readouterr().err
    load_data(pictures(), quiet=True)
    assert capsys.readouterr() == ("", "")


# --- known sets: torchvision's files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["MNIST/raw", "raw", ""])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_wherever_its_files_lie(tmp_path, monkeypatch, inner, packed):
    root = tmp_path / "root"
    write_idx(root / inner, monkeypatch if packed else None)
    before = listing(root)
    task = load_data("mnist", root=str(root))
    assert task.shape == (1, 28, 28) and task.classes == tuple("0123456789") and task.split == "test set"
    assert (task.mean, task.std, task.flip) == ((0.1307,), (0.3081,), False)
    assert (
        np.array_equal(task.train.x[:, 0].numpy(), noise(40, 28, 28, mean=0.1307))
        and task.test.y.tolist() == turns(20, 10).tolist()
    )
    assert listing(root) == before


def test_fashion_mnist_has_names_and_flips(tmp_path, monkeypatch):
    write_idx(tmp_path / "FashionMNIST/raw", monkeypatch, mean=0.2861, source="FashionMNIST")
    task = load_data("fashion-mnist", root=tmp_path)
    assert task.classes[:2] == ("T-shirt/top", "Trouser") and task.flip and task.name == "fashion-mnist"


def test_the_default_root_is_in_the_cache(tmp_path):
    write_idx(tmp_path / "cache/data/MNIST/raw")
    assert load_data("mnist").name == "mnist"


def test_files_of_another_set_are_refused(tmp_path):
    write_idx(tmp_path / "FashionMNIST/raw", mean=0.2861)
    with pytest.raises(
        ValueError, match=r"FashionMNIST/raw does not hold MNIST: the mean of its check_images is 0.28\d\d, not 0.1307"
    ):
        load_data("mnist", root=tmp_path / "FashionMNIST")
    write_idx(tmp_path / "MNIST/raw", side=20)
    with pytest.raises(ValueError, match=r"its check_images have the shape \(1, 20, 20\), not \(1, 28, 28\)"):
        load_data("mnist", root=tmp_path)


def test_missing_files_are_named(tmp_path):
    files = write_idx(tmp_path / "MNIST/raw")
    files[0].unlink()
    with pytest.raises(
        ValueError,
        match=r"no MNIST in .*train-check_images-idx3-ubyte\[.gz\].*MNIST/raw/.*train-\*.parquet.*--download.*--root",
    ):
        load_data("mnist", root=tmp_path)
    with pytest.raises(
        ValueError,
        match=r"no CIFAR-10 in .*cache/data: looked for cifar-10-python.tar.gz, data_batch_1.*cifar-10-batches-py/",
    ):
        load_data("cifar10")


def test_damaged_files_are_named(tmp_path, monkeypatch):
    packed = write_idx(tmp_path / "a/MNIST/raw", monkeypatch)
    packed[2].write_bytes(packed[2].read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"{packed[2].name} is damaged: its md5 is not"):
        load_data("mnist", root=tmp_path / "a")
    official(monkeypatch, "MNIST", packed)
    with pytest.raises(ValueError, match=rf"{packed[2].name} is damaged: Compressed file ended"):
        load_data("mnist", root=tmp_path / "a")
    for i, content in enumerate((b"", b"\0\0\x08", b"\0\0\x08\1\0\0\0\x09only", b"nonsense")):
        files = write_idx(tmp_path / f"b{i}/MNIST/raw")
        files[1].write_bytes(content)
        with pytest.raises(ValueError, match=rf"{files[1].name} is damaged"):
            load_data("mnist", root=tmp_path / f"b{i}")


def test_unreadable_files_are_named(tmp_path, monkeypatch):
    def closed(file):
        raise PermissionError(13, "Permission denied", str(file))

    write_idx(tmp_path / "MNIST/raw", monkeypatch)
    monkeypatch.setattr(archives, "md5", closed)
    with pytest.raises(ValueError, match=rf"cannot read mnist: .*Permission denied: '{tmp_path}.*{IDX[0]}"):
        load_data("mnist", root=tmp_path)


def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat

    x = np.stack([noise(20, 32, 32, mean=m) for m in DATASETS["svhn"].mean], 3)
    for part in ("train", "test"):
        savemat(
            tmp_path / f"{part}_32x32.mat",
            {"X": x.transpose(1, 2, 3, 0), "y": turns(20, 10)[:, None].astype(np.uint8) + 1},
        )
    official(monkeypatch, "SVHN", sorted(tmp_path.glob("*.mat")))
    task = load_data("svhn", root=tmp_path)
    assert np.array_equal(task.train.x.numpy(), x.transpose(0, 3, 1, 2)) and not task.flip
    assert task.train.y[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] and task.classes == tuple("0123456789")


def torchvision_datasets():
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    return datasets


@pytest.mark.parametrize("kind", ["archive", "folder", "inner"])
def test_cifar_batches(tmp_path, monkeypatch, kind):
    tv = torchvision_datasets().CIFAR100
    rows = np.stack([noise(200, 32, 32, mean=m) for m in DATASETS["cifar100"].mean], 1).reshape(200, -1)
    folder = tmp_path / "made" / tv.base_folder
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps({"data": rows, "fine_labels": turns(200, 100).tolist()}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"kind {i}" for i in range(100)]}))
    archive = tmp_path / "packed" / tv.filename
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, tv.base_folder)
    sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in ("train", "test", "meta")}
    official(
        monkeypatch,
        "CIFAR100",
        sorted(folder.iterdir()),
        archive={tv.filename: hashlib.md5(archive.read_bytes()).hexdigest()},
    )
    monkeypatch.setattr(tv, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(tv, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(tv, "meta", tv.meta | {"md5": sums["meta"]})
    root = {"archive": archive.parent, "folder": folder.parent, "inner": folder}[kind]
    before = listing(root)
    task = load_data("cifar100", root=root)
    assert np.array_equal(task.train.x.numpy(), rows.reshape(200, 3, 32, 32)) and listing(root) == before
    assert task.classes[:2] == ("kind 0", "kind 1") and len(task.classes) == 100


def test_the_tables_are_those_of_torchvision():
    datasets = torchvision_datasets()
    for source, layout in archives.LAYOUTS.items():
        theirs = getattr(datasets, source)
        if source == "SVHN":
            assert {
                split[1]: split[2] for split in (theirs.split_list["train"], theirs.split_list["test"])
            } == layout.files
        elif source.endswith("MNIST"):
            assert dict(theirs.resources) == layout.files
            assert layout.names in (None, tuple(theirs.classes))
        else:
            assert (
                dict([*theirs.train_list, *theirs.test_list, (theirs.meta["filename"], theirs.meta["md5"])])
                == layout.files
            )
            assert {theirs.filename: theirs.tgz_md5} == layout.archive and theirs.base_folder in layout.folders


def test_download_is_torchvisions_and_only_on_demand(tmp_path, monkeypatch):
    asked = []

    def fake(source):
        def dataset(root, download, **part):
            asked.append((source, root, download))
            write_idx(Path(root) / "MNIST/raw")

        return dataset

    monkeypatch.setattr(archives, "torchvision_class", fake)
    with pytest.raises(ValueError, match="--download"):
        load_data("mnist", root=tmp_path / "root")
    assert not asked and not (tmp_path / "root").exists()
    assert load_data("mnist", root=tmp_path / "root", download=True).name == "mnist"
    assert load_data("mnist", root=tmp_path / "root", download=True).name == "mnist"
    assert load_data("mnist", download=True).name == "mnist"
    assert asked == [("MNIST", tmp_path / "root", True), ("MNIST", tmp_path / "cache/data", True)]


def test_a_failed_download_says_so(tmp_path, monkeypatch):
    def unreachable(source):
        def dataset(root, download, **part):
            raise OSError("no route to host")

        return dataset

    monkeypatch.setattr(archives, "torchvision_class", unreachable)
    with pytest.raises(ValueError, match=r"cannot download SVHN to .*: no route to host"):
        load_data("svhn", root=tmp_path, download=True)


# --- known sets: Parquet ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "cifar10", "data", "plain_text", "cifar10/plain_text", "cifar10/data"])
def test_parquet_wherever_it_lies(tmp_path, place):
    root = tmp_path / "root"
    write_cifar(root / place, names=[f"kind {i}" for i in range(10)])
    before = listing(root)
    task = load_data("cifar10", root=root)
    assert task.shape == (3, 32, 32) and task.classes[3] == "kind 3" and task.train.y.tolist() == turns(20, 10).tolist()
    assert (
        np.array_equal(task.train.x[:, 0].numpy(), noise(20, 32, 32, mean=0.4914))
        and task.std == DATASETS["cifar10"].std
    )
    assert listing(root) == before


@pytest.mark.parametrize(("name", "columns"), [("cifar100", ("img", "fine_label")), ("mnist", ("image", "label"))])
def test_parquet_of_other_sets(tmp_path, name, columns):
    write_cifar(tmp_path / name, name, columns=columns)
    task = load_data(name, root=tmp_path)
    assert len(task.classes) == (100 if name == "cifar100" else 10) and task.classes[-1] in ("9", "99")


def test_parquet_larger_than_memory_gives_the_same_bits(tmp_path, monkeypatch):
    write_cifar(tmp_path)
    first = load_data("cifar10", root=tmp_path)
    monkeypatch.setattr(known, "DECODER", known.DECODER + 1)
    monkeypatch.setattr(mapped, "LIMIT", 0)
    again = load_data("cifar10", root=tmp_path)
    assert again.on_disk and again.fingerprint == first.fingerprint and torch.equal(again.test.x, first.test.x)


@pytest.mark.parametrize("room, moves", [(10**6, True), (10, False)])
def test_images_from_a_file_move_to_a_device_that_holds_them(tmp_path, monkeypatch, room, moves):
    """Else a GPU would wait for the disk in every update."""
    monkeypatch.setattr("attar.data.task.room", lambda device: room)
    moved = load_data(write_npy(tmp_path / "mine", noise(40, 8, 6), turns(40), noise(6, 8, 6), turns(6))).to(
        torch.device("meta")
    )
    assert moved.train.x.is_meta == moves and moved.train.y.is_meta and moved.test.x.is_meta


def test_shards_go_together(tmp_path):
    (train, _), x = write_cifar(tmp_path), np.stack([noise(20, 32, 32, mean=m) for m in DATASETS["cifar10"].mean], 3)
    train.rename(tmp_path / "train-00000-of-00002.parquet")
    with pytest.raises(ValueError, match=r"has 1 of the 2 files that train-00000-of-00002.parquet belongs to"):
        load_data("cifar10", root=tmp_path)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", x[:10], turns(10, 10))
    assert len(load_data("cifar10", root=tmp_path).train.y) == 30


def test_parquet_that_is_damaged(tmp_path):
    train, test = write_cifar(tmp_path)
    whole = train.read_bytes()
    good = encoded(noise(32, 32, 3))

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_data("cifar10", root=tmp_path)

    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        train.write_bytes(content)
        refused(f"{train.name} is damaged, or no Parquet file")
    write_parquet(train, [], [0, 1], columns=("picture", "label"), cells=[{"bytes": good, "path": None}] * 2)
    refused(f"{train.name} has the columns picture, label; expected image or img, and label")
    for cell, message in [(good[:60], "is damaged"), (b"nonsense", "is damaged"), (None, "is not in the file")]:
        write_parquet(
            train, [], [0, 1], cells=[{"bytes": good, "path": None}, {"bytes": cell, "path": "elsewhere.png"}]
        )
        refused(f"{train.name}: the image of row 1 {message}")
    write_parquet(train, [], [0, None], cells=[{"bytes": good, "path": None}] * 2)
    refused(f"{train.name}: row 1 has no label")
    write_parquet(train, [noise(32, 32, 3), noise(30, 32, 3)], [0, 1])
    refused("the image of row 1 is 30x32x3 uint8, but the first is 32x32x3")
    test.unlink()
    refused("no CIFAR-10 in")


def test_bad_metadata_leaves_the_labels_their_numbers(tmp_path):
    import pyarrow.parquet as pq

    train, _ = write_cifar(tmp_path)
    for text in ("nonsense", "{}", "[]", '{"info": {"features": {"label": {"_type": "Value"}}}}'):
        pq.write_table(pq.read_table(train).replace_schema_metadata({"huggingface": text}), train)
        assert parquet.class_names(pq.ParquetFile(train)) is None


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """What has been decoded, as it happens."""
    seen, decode = [], archives.decode
    monkeypatch.setattr(archives, "decode", lambda source, *rest: (seen.append(source), decode(source, *rest))[1])
    return seen


def test_what_is_decoded_once_is_cached(tmp_path, decodings):
    files = write_idx(tmp_path / "root/MNIST/raw")
    first, second = (load_data("mnist", root=tmp_path / "root") for _ in range(2))
    assert decodings == ["MNIST"] and first.fingerprint == second.fingerprint and first.classes == second.classes
    assert (
        second.on_disk
        and torch.equal(first.test.x, second.test.x)
        and first.normalise(second.train.x[:1]).isfinite().all()
    )
    files[0].touch()
    load_data("mnist", root=tmp_path / "root")
    assert decodings == ["MNIST"] * 2


def test_another_decoder_decodes_anew(tmp_path, decodings, monkeypatch):
    write_idx(tmp_path / "root/MNIST/raw")
    load_data("mnist", root=tmp_path / "root")
    monkeypatch.setattr(known, "DECODER", known.DECODER + 1)
    load_data("mnist", root=tmp_path / "root")
    assert decodings == ["MNIST"] * 2


def test_a_damaged_cache_is_made_anew(tmp_path, decodings):
    write_idx(tmp_path / "root/MNIST/raw")
    first = load_data("mnist", root=tmp_path / "root")
    (path,) = (tmp_path / "cache/decoded").glob("*.safetensors")
    for content in (b"", b"nonsense", path.read_bytes()[:-5]):
        path.unlink()
        path.write_bytes(content)
        assert load_data("mnist", root=tmp_path / "root").fingerprint == first.fingerprint
    assert len(decodings) == 4
    load_data("mnist", root=tmp_path / "root")
    assert len(decodings) == 4


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, decodings):
    write_idx(tmp_path / "root/MNIST/raw")
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "file"))
    assert load_data("mnist", root=tmp_path / "root").name == load_data("mnist", root=tmp_path / "root").name
    assert len(decodings) == 2


def test_arrays_and_datasets_are_not_cached(tmp_path):
    load_data((noise(4, 8, 8), turns(4)))
    load_data(pictures())
    assert not (tmp_path / "cache").exists()


# --- the real files ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="no MNIST under ../shared/data")
def test_the_real_mnist():
    before = listing(REAL)
    task = load_data("mnist", root=REAL)
    assert task.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert task.test.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = moments(task.train.x)
    assert (round(mean[0], 4), round(std[0], 4)) == (*task.mean, *task.std) and listing(REAL) == before


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no CIFAR-10 under ../shared/data")
def test_the_real_cifar10(tmp_path):
    """The first thousand rows of each part, to stay fast."""
    import pyarrow.parquet as pq

    before = listing(REAL)
    for part in ("train", "test"):
        name = f"{part}-00000-of-00001.parquet"
        pq.write_table(pq.ParquetFile(REAL / "cifar10" / name).read_row_group(0), tmp_path / name)
    task = load_data("cifar10", root=tmp_path)
    assert task.classes[0] == "airplane" and task.classes[6] == "frog" and len(task.train.y) == len(task.test.y) == 1000
    assert task.train.y[:4].tolist() == [6, 9, 9, 4] and task.test.y[:4].tolist() == [3, 8, 8, 0]
    assert task.train.x[0, :, 0, 0].tolist() == [59, 62, 63] and listing(REAL) == before
