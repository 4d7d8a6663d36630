"""What judges: the test part, the validation part or training images that are held out, as a user says."""

import numpy as np
import pytest
from sample_files import noise, pictures, stay_alone, turns, write_idx, write_npy
from torch import Tensor

import attar
from attar.data.load import load_data
from attar.data.numpy_files import STAND_INS

alone = pytest.fixture(autouse=True)(stay_alone)
PARTS = {"x_test": noise(4, 8, 8), "y_test": turns(4), "x_val": noise(6, 8, 8), "y_val": turns(6)}


def write(folder, kind: str, *parts: str, **other: np.ndarray) -> str:
    """Own data with these parts beside the 40 images for training; `other` are arrays under names of their own."""
    extra = {name: PARTS[name] for name in parts} | other
    if kind == "npz":
        np.savez(folder / "mine.npz", x=noise(40, 8, 8), y=turns(40), **extra)
        return f"npz:{folder / 'mine.npz'}"
    data = write_npy(folder / "mine", noise(40, 8, 8), turns(40))
    for name, values in extra.items():
        np.save(folder / "mine" / f"{name}.npy", values)
    return data


def held_out(train: Tensor) -> bool:
    return len(train) == 36


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize(
    ("split", "told", "train", "test"),
    [
        (None, "test set", 40, 4),
        ("test", "test set", 40, 4),
        ("validation", "validation set", 40, 6),
        ("held-out", "hold-out: 10 % of the given examples, stratified", 36, 4),
    ],
)
def test_the_part_that_is_named_judges(tmp_path, caplog, kind, split, told, train, test):
    task = load_data(write(tmp_path, kind, *PARTS), split=split)
    assert (task.split, len(task.train.x), len(task.test.x)) == (told, train, test)
    assert ("a validation part is not used" in caplog.text) == (split != "validation")
    if split != "held-out":
        expected = PARTS["x_val" if split == "validation" else "x_test"]
        assert np.array_equal(task.test.x[:, 0], expected)


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize("names", list(zip(STAND_INS["x_val"], STAND_INS["y_val"], strict=True)))
def test_a_validation_part_is_known_under_many_names(tmp_path, kind, names):
    other = dict(zip(names, (PARTS["x_val"], PARTS["y_val"]), strict=True))
    task = load_data(write(tmp_path, kind, **other), split="validation")
    assert np.array_equal(task.test.x[:, 0], PARTS["x_val"]) and task.test.y.tolist() == turns(6).tolist()


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_part_that_does_not_judge_may_be_anything(tmp_path, kind):
    secret = {"x_test": PARTS["x_test"], "y_test": np.full(4, -1)}
    data = write(tmp_path, kind, "x_val", "y_val", **secret)
    for split in ("validation", "held-out"):
        load_data(data, split=split)
    with pytest.raises(ValueError, match="the test labels hold 4 examples without a label"):
        load_data(data)
    with pytest.raises(ValueError, match="the validation labels hold 6 examples without a label"):
        data = write(tmp_path, kind, "x_val", y_val=np.full(6, -1))
        load_data(data, split="validation")


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize(
    ("parts", "split", "message"),
    [
        ((), "test", "split is test, but mine has no test part"),
        ((), "validation", "mine(.npz)? (has the keys|holds) x.*expected .*y.* and x_val(.npy)? and y_val(.npy)?$"),
        (("x_val",), "validation", "expected .* and x_val(.npy)? and y_val(.npy)?$"),
        (("x_test",), "test", "both or none of x_test"),
    ],
)
def test_a_part_that_is_not_there(tmp_path, kind, parts, split, message):
    with pytest.raises(ValueError, match=message):
        load_data(write(tmp_path, kind, *parts), split=split)


def test_known_sets_have_a_test_part_or_hold_one_out(tmp_path):
    write_idx(tmp_path / "MNIST/raw")
    given, held = load_data("mnist", root=tmp_path, split="test"), load_data("mnist", root=tmp_path, split="held-out")
    assert given.split == "test set" and held.split.startswith("hold-out: 25 %") and len(held.test.x) == 10
    assert given.fingerprint != held.fingerprint and given.normalisation == held.normalisation
    assert load_data("digits", split="held-out").fingerprint == load_data("digits").fingerprint
    with pytest.raises(ValueError, match="split is test, but digits has no test part"):
        load_data("digits", split="test")
    with pytest.raises(ValueError, match=r"split is validation, but only files of your own .*: digits has none"):
        load_data("digits", split="validation")


def test_arrays_and_datasets(task):
    arrays = noise(40, 8, 8), turns(40), noise(4, 8, 8), turns(4)
    for data in (arrays, (pictures(n=40), pictures(n=4))):
        assert len(load_data(data).train.x) == 40 and held_out(load_data(data, split="held-out").train.x)
        with pytest.raises(
            ValueError, match=r"only files of your own .*: give what judges as \(x, y, x_test, y_test\)"
        ):
            load_data(data, split="validation")
    with pytest.raises(ValueError, match="a Task has its test part already"):
        load_data(task, split="test")
    with pytest.raises(ValueError, match="unknown split 'val'; known: test, validation, held-out"):
        load_data(arrays, split="val")


def test_every_way_in_takes_it(tmp_path):
    data = write(tmp_path, "npz", *PARTS)
    made = attar.condense(data, "random", 1, split="validation")
    assert made.provenance["split"] == "validation set"
    (row,) = attar.evaluate(made, data, split="validation", protocol="quick", seeds=1)
    assert row.split == "validation set"
    _, rows = attar.compare(data, ["random"], [1], split="validation", protocol="quick", seeds=1)
    assert rows[0].split == "validation set"
    with pytest.raises(ValueError, match="split is validation"):
        attar.plan("digits", "random", 1, split="validation")
