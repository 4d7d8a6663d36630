"""Scales of values: what is refused, with which advice, what an option makes of it, and what is said."""

import numpy as np
import pytest
import torch
from PIL import Image
from sample_files import Pictures, noise, stay_alone, turns, write_npy

from attar.data.load import load_data
from attar.data.value_range import SLACK

alone = pytest.fixture(autouse=True)(stay_alone)


def between(black: float, white: float, dtype, n: int = 40) -> np.ndarray:
    """Values that reach both ends."""
    unit = np.random.default_rng(0).random((n, 8, 8))
    unit[0, 0, :2] = 0, 1
    values = black + (white - black) * unit
    return (values.round() if np.dtype(dtype).kind in "ui" else values).astype(dtype)


SCALES = [
    (0, 16, np.uint8),
    (0, 16, np.float64),
    (0, 1, np.uint8),
    (0, 1, np.float32),
    (0, 255, np.float32),
    (0, 4095, np.int16),
    (0, 65535, np.uint16),
    (0, 65535, np.float32),
    (-1, 1, np.float32),
    (-128, 127, np.int8),
    (-1024, 3071, np.int32),
]


@pytest.mark.parametrize(("black", "white", "dtype"), SCALES)
def test_a_range_that_is_given_takes_values_to_0_and_1(tmp_path, caplog, black, white, dtype):
    x, y = between(black, white, dtype), turns(40)
    expected = ((x.astype(np.float64) - black) / (white - black)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x, y=y, x_test=x, y_test=y)
    items = Pictures(list(zip(x, y, strict=True)))
    folder = write_npy(tmp_path / "mine", x, y, x, y)
    for data in ((x, y, x, y), (items, items), f"npz:{tmp_path / 'mine.npz'}", folder):
        task = load_data(data, value_range=(black, white))
        for part in (task.train, task.test):
            assert part.x.dtype == torch.float32 and np.array_equal(part.x[:, 0], expected)
        assert task.normalisation.mean == pytest.approx((expected.mean(),), abs=1e-6)
    assert not caplog.records


def test_one_file_in_two_ranges_is_measured_twice(tmp_path):
    data = write_npy(tmp_path / "mine", *[between(0, 16, np.uint8), turns(40)] * 2)
    means = [load_data(data, value_range=ends).normalisation.mean[0] for ends in (None, (0, 16), (0, 32), None)]
    assert means[1] == pytest.approx(2 * means[2]) and means[0] == means[3] < means[2]


@pytest.mark.parametrize(("ends", "dtype"), [((0, 255), np.uint8), ((0, 1), np.float32)])
def test_the_usual_range_said_aloud_changes_nothing(tmp_path, caplog, ends, dtype):
    x = between(0, 16, dtype) if dtype == np.uint8 else between(0, 0.25, dtype)
    task = load_data(write_npy(tmp_path / "mine", x, turns(40), x, turns(40)), value_range=list(ends))
    assert task.on_disk and np.array_equal(task.train.x[:, 0], x) and not caplog.records


@pytest.mark.parametrize(
    ("x", "advice"),
    [
        (between(0, 16, float), r"from 0 to 16; .*divide them by 16, or .*value_range=\(0, 16\), or --range 0 16$"),
        (between(0, 255, float), r"divide them by 255, or .*\(0, 255\), or --range 0 255$"),
        (between(0, 254, float), "divide them by 255"),
        (between(0, 3, float), "divide them by 3, "),
        (between(0, 100, float), "divide them by 100, "),
        (between(0, 65535, np.uint16), r"divide them by 65535, .*--range 0 65535$"),
        (between(0, 20_000, np.uint16), "divide them by 65535"),
        (between(0, 4000, np.int64), "divide them by 4095"),
        (between(0, 65535, np.float32), "divide them by 65535"),
        (between(-1, 1, float), r"undo any normalisation, or .*value_range=\(-1, 1\), or --range -1 1$"),
        (between(-2, 3, float), r"undo any normalisation, or .*\(-2, 3\)"),
        (between(-1000, 3000, np.int16), r"\(-1000, 3000\)"),
        (between(0, 1 + 3 * SLACK, float), "divide them by"),
    ],
)
def test_another_scale_is_refused_with_advice_that_works(x, advice):
    with pytest.raises(ValueError, match=advice) as caught:
        load_data((x, turns(40)))
    low, high = map(float, str(caught.value).split("--range ")[1].split())
    read = load_data((x, turns(40)), value_range=(low, high)).train.x
    assert 0 <= read.min() < 0.1 and read.max() <= 1  # nothing is cut off


@pytest.mark.parametrize("end", [1e-7, 1e-3, SLACK * 0.99])
@pytest.mark.parametrize("value_range", [None, (0, 16), (-1, 1)])
def test_rounding_beyond_an_end_is_clipped_and_said_once(tmp_path, caplog, end, value_range):
    black, white = value_range or (0, 1)
    over = end * (white - black)
    x = between(black, white, np.float64).astype(np.float32)
    beyond = x.copy()
    beyond[0, 0, :2] = black - over, white + over
    for data in ((beyond, turns(40)), write_npy(tmp_path / "mine", beyond, turns(40))):
        task = load_data(data, value_range=value_range)
        assert task.fingerprint == load_data((x, turns(40)), value_range=value_range).fingerprint
        (said,) = caplog.messages
        assert f"clipped to {black} and {white}" in said
        caplog.clear()


@pytest.mark.parametrize("value", [-1, 17])
def test_what_leaves_the_given_range_is_refused(value):
    x = between(0, 16, int)
    x[5, 5, 5] = value
    with pytest.raises(
        ValueError, match=r"the training images have values from .*; expected 0 to 16, as value_range says"
    ):
        load_data((x, turns(40)), value_range=(0, 16))


@pytest.mark.parametrize(
    ("x", "white"),
    [
        (between(0, 16, np.uint8), 16),
        (between(0, 15, np.int64), 16),
        (between(0, 1, np.uint8), 1),
        (between(0, 1, np.int32), 1),
        (between(0, 7, np.uint8), 7),
        (between(0, 100, np.uint8), 100),
        (between(0, 16 / 255, np.float32), 0.0627451),
        (np.zeros((40, 8, 8), np.uint8), 1),
    ],
)
def test_images_without_a_bright_value_are_said_in_one_sentence(x, white, caplog):
    load_data((x, turns(40), x, turns(40)))
    (said,) = caplog.messages
    assert said.startswith("the training images never exceed") and f"--range 0 {white}" in said
    caplog.clear()
    load_data((x, turns(40)), value_range=(0, 255 if x.dtype.kind in "ui" else 1))
    assert not caplog.records


@pytest.mark.parametrize("x", [noise(40, 8, 8), noise(40, 8, 8) / 255, noise(40, 8, 8) > 127])
def test_of_usual_images_nothing_is_said(x, caplog):
    load_data((x, turns(40)))
    assert not caplog.records


@pytest.mark.parametrize(
    "value_range", [5, (1,), (0, 1, 2), (16, 0), (3, 3), (0, np.nan), (0, np.inf), "ab", ("a", "b"), (0, 10**400)]
)
def test_what_is_no_range(value_range):
    with pytest.raises(ValueError, match=r"value_range is .*; expected two numbers, that of black and a greater one"):
        load_data((noise(4, 8, 8), turns(4)), value_range=value_range)


def test_the_range_of_known_data_is_known(task):
    for data in ("digits", task):
        with pytest.raises(ValueError, match="value_range is for data of your own"):
            load_data(data, value_range=(0, 16))


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint16, 65535), (np.dtype(">u2"), 65535), (np.int32, 65535), (np.float32, 255)]
)
def test_deep_pictures_keep_their_values(dtype, white):
    """Pillow would cut them off at 255."""
    x = between(0, white, dtype)
    items = Pictures([(Image.fromarray(picture), i % 2) for i, picture in enumerate(x)])
    with pytest.raises(ValueError, match=rf"divide them by {white}, or .*--range 0 {white}"):
        load_data(items)
    read = load_data((items, items), value_range=(0, white)).train.x[:, 0].numpy()
    assert np.allclose(read, x / white, atol=1e-6)


def test_float_pictures_on_0_and_1_are_taken_as_they_are():
    x = between(0, 1, np.float32)
    items = Pictures([(Image.fromarray(picture), i % 2) for i, picture in enumerate(x)])
    assert np.array_equal(load_data((items, items)).train.x[:, 0], x)
