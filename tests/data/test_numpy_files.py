"""NumPy files: under which names arrays are found, that mapped ones give the same bits, and what is refused."""

import itertools
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from sample_files import listing, noise, stay_alone, turns, with_value, write_npy

import attar
from attar.data import on_disk
from attar.data.load import load_data
from attar.data.numpy_files import JUDGES, STAND_INS
from attar.rng import Rng

VALIDATION = JUDGES["validation"]
alone = pytest.fixture(autouse=True)(stay_alone)


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


def write_medmnist(folder, *shape: int, labels: int = 1, classes: int = 2):
    """A file as MedMNIST has them: three parts, and a column of labels for each."""
    arrays = {}
    for part, n in (("train", 40), ("val", 6), ("test", 4)):
        arrays[f"{part}_images"] = noise(n, *shape)
        arrays[f"{part}_labels"] = np.repeat(turns(n, classes)[:, None], labels, 1).astype(np.uint8)
    np.savez_compressed(folder / "bloodmnist.npz", **arrays)
    return arrays


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (64, 64, 3)])
@pytest.mark.parametrize(
    ("split", "part", "told"), [(None, "test", "test set"), ("validation", "val", "validation set")]
)
def test_medmnist_as_it_is_published(tmp_path, caplog, shape, split, part, told):
    arrays = write_medmnist(tmp_path, *shape)
    task = load_data(f"npz:{tmp_path / 'bloodmnist.npz'}", split=split)
    assert (task.name, task.classes, task.split) == ("bloodmnist", ("0", "1"), told)
    for examples, key in ((task.train, "train"), (task.test, part)):
        expected = arrays[f"{key}_images"].reshape(-1, *shape[:2], task.shape[0]).transpose(0, 3, 1, 2)
        assert np.array_equal(examples.x, expected) and examples.y.tolist() == arrays[f"{key}_labels"][:, 0].tolist()
    assert ("bloodmnist.npz has val_images and val_labels: a validation part" in caplog.text) == (split is None)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((28, 28), 14, "bloodmnist.npz: the training labels have the shape 40x14; expected one label for each image"),
        ((28, 28, 28), 1, "bloodmnist.npz: the training images have the shape 40x28x28x28, and so no axis of 1 or 3"),
    ],
)
def test_medmnist_of_many_labels_or_of_volumes_is_refused(tmp_path, shape, labels, message):
    write_medmnist(tmp_path, *shape, labels=labels)
    with pytest.raises(ValueError, match=message):
        load_data(f"npz:{tmp_path / 'bloodmnist.npz'}")


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
        ({"x": np.full((4, 8, 8), 2.0), "y": turns(4)}, "mine.npz: the training images have values from 2 to 2"),
    ],
)
def test_npz_that_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_data(f"npz:{tmp_path / 'mine.npz'}")


@pytest.mark.parametrize("role", STAND_INS)
def test_a_documented_name_wins_over_all_others(tmp_path, role):
    """Whatever lies under those: previews, coarser labels, names of classes."""
    path = tmp_path / "mine.npz"
    arrays = {"x": noise(6, 8, 8), "y": turns(6), "x_test": noise(2, 8, 8), "y_test": turns(2)}
    others = dict.fromkeys(STAND_INS[role], np.array(["a", "b", "c"]))
    for given in ({**others, **arrays}, {**arrays, **others}):
        np.savez(path, **given)
        task = load_data(f"npz:{path}")
        assert np.array_equal(task.train.x[:, 0], arrays["x"]) and np.array_equal(task.test.x[:, 0], arrays["x_test"])
        assert task.train.y.tolist() == turns(6).tolist() and task.test.y.tolist() == [0, 1]


@pytest.mark.parametrize("role", ["x", "y", "x_val", "y_val"])
def test_two_stand_ins_of_one_role_are_refused(tmp_path, role):
    for first, second in itertools.combinations(STAND_INS[role], 2):
        arrays = {"x": noise(6, 8, 8), "y": turns(6), "x_val": noise(2, 8, 8), "y_val": turns(2)}
        arrays[first] = arrays[second] = arrays.pop(role)
        np.savez(tmp_path / "mine.npz", **arrays)
        with pytest.raises(ValueError, match=f"mine.npz has both {first} and {second}: call the one to be read {role}"):
            load_data(f"npz:{tmp_path / 'mine.npz'}", split="validation" if role in VALIDATION else "test")


@pytest.mark.parametrize(
    "names", [("x_val", "y_val"), ("val_images", "val_labels"), ("valid_x", "valid_y"), ("images_validation",)]
)
def test_a_validation_part_is_named_in_one_sentence(tmp_path, caplog, names):
    arrays = {"x": noise(40, 8, 8), "y": turns(40), "places": turns(40)}
    np.savez(tmp_path / "mine.npz", **arrays)
    expected = load_data(f"npz:{tmp_path / 'mine.npz'}").fingerprint
    assert not caplog.records
    np.savez(tmp_path / "mine.npz", **arrays, **dict.fromkeys(names, turns(3)))
    assert load_data(f"npz:{tmp_path / 'mine.npz'}").fingerprint == expected
    assert f"mine.npz has {' and '.join(names)}: a validation part is not used" in caplog.text
    assert 'give load_data split="validation", or --split validation' in caplog.text
    data = write_npy(tmp_path / "folder", arrays["x"], arrays["y"])
    for name in names:
        np.save(tmp_path / "folder" / f"{name}.npy", turns(3))
    assert load_data(data).fingerprint == expected
    assert f"folder has {' and '.join(names)}: a validation part" in caplog.text and len(caplog.records) == 2


@pytest.mark.parametrize("key", ["x", "y", "x_test"])
def test_an_array_that_an_archive_holds_twice_is_refused(tmp_path, key):
    path = tmp_path / "mine.npz"
    np.savez(path, x=noise(4, 8, 8), y=turns(4), x_test=noise(4, 8, 8), y_test=turns(4))
    np.save(tmp_path / f"{key}.npy", noise(4, 8, 8))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / f"{key}.npy", f"{key}.npy")
    with pytest.raises(ValueError, match=f"mine.npz holds {key} 2 times: write the file anew"):
        load_data(f"npz:{path}")


@pytest.mark.parametrize(
    ("kind", "names"),
    [("npz", ("test_x", "test_y")), ("npy", ("test_images", "test_labels")), ("npz", ("images_test", "labels_test"))],
)
def test_a_test_part_of_another_name_is_said_to_be_unused(tmp_path, caplog, kind, names):
    arrays = {"x_train": noise(4, 8, 8), "y_train": turns(4), names[0]: noise(4, 8, 8), names[1]: turns(4)}
    if kind == "npz":
        np.savez(tmp_path / "mine.npz", **arrays)
    else:
        (tmp_path / "mine").mkdir()
        for name, array in arrays.items():
            np.save(tmp_path / "mine" / f"{name}.npy", array)
    load_data(f"{kind}:{tmp_path / 'mine'}{'.npz' * (kind == 'npz')}")
    told = f" has {' and '.join(sorted(names))}: not used, as a test part is called x_test and y_test"
    assert [record.getMessage().endswith(told) for record in caplog.records] == [True]


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


@pytest.mark.parametrize("shape", [(40, 8, 6), (40, 8, 6, 3), (40, 3, 8, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_npy_gives_the_bits_of_memory_and_copies_nothing(tmp_path, shape, dtype):
    x = noise(*shape) if dtype == np.uint8 else np.random.default_rng(0).random(shape, np.float32)
    arrays = x, turns(40), x[:6], turns(6)
    lying, held = load_data(write_npy(tmp_path / "mine", *arrays)), load_data(arrays)
    before = listing(tmp_path / "mine")
    assert (lying.name, lying.split) == ("mine", "test set") and lying.on_disk and not held.on_disk
    assert (lying.fingerprint, lying.normalisation) == (held.fingerprint, held.normalisation)
    assert torch.equal(lying.indices((1, 0), 9, Rng.of(0)), held.indices((1, 0), 9, Rng.of(0)))
    samples = [task.sample((1, 0), 30, Rng.of(0)) for task in (lying, held)]
    assert torch.equal(*samples) and samples[0].is_contiguous()
    made = [attar.condense(task, "dm", 1, updates=3, batch_real=8) for task in (lying, held)]
    assert torch.equal(made[0].images, made[1].images)
    assert lying.to(torch.device("cpu")).train.x is lying.train.x and listing(tmp_path / "mine") == before


def test_npy_without_a_test_part_is_held_out_as_in_memory(tmp_path, monkeypatch):
    held = load_data((noise(40, 8, 8), turns(40)))
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40))
    monkeypatch.setattr(on_disk, "PIECE", 200)
    for limit in (on_disk.LIMIT, 0):
        monkeypatch.setattr(on_disk, "LIMIT", limit)
        lying = load_data(data)
        assert lying.split == held.split and lying.on_disk == (limit == 0)
        assert lying.fingerprint == held.fingerprint and torch.equal(lying.test.x, held.test.x)


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
            "mine: the training images hold 1 values that are NaN or infinite, the first in image 2",
        ),
        ((with_value(-2.5).astype(np.float32), turns(4)), "mine: the training images have values from -2.5 to 0"),
        ((noise(5, 8, 8), turns(4)), "mine: the training part has 5 images, but 4 labels"),
        ((noise(4, 8, 8), [5] * 4), "mine: the training labels are all '5'"),
        ((np.zeros((0, 8, 8)), turns(4)), "mine: the training images are empty"),
        ((noise(4, 8, 8), turns(4), noise(4, 8, 9), turns(4)), "mine: the test images are 8x9 grey"),
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
