"""Images and labels as they come: what they become, and what is refused."""

import numpy as np
import pytest
import torch
from sample_files import noise, turns, with_value

from attar.data.check import check_images, watch
from attar.data.load import load_data
from attar.data.measure import moments


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
    if isinstance(dtype, torch.dtype):
        x = torch.rand(4, 8, 8).to(dtype)
    else:
        x = np.random.default_rng(0).random((4, 8, 8)).astype(dtype)
    read = check_images(x, "x")
    assert read.dtype == torch.float32 and read.min() >= 0 and read.max() <= 1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_integers_become_bytes(dtype):
    assert torch.equal(check_images(noise(4, 8, 8).astype(dtype), "x"), check_images(noise(4, 8, 8), "x"))


@pytest.mark.filterwarnings("ignore:Sparse CSR")  # which is in beta, as torch warns
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_tensors_are_refused(layout):
    x = torch.ones(4, 8).to_sparse(layout=layout)
    with pytest.raises(ValueError, match=r"x are a sparse tensor; expected a dense one, such as .to_dense\(\) gives"):
        check_images(x, "x")


def test_read_only_arrays_and_lists_are_copied():
    x = noise(4, 8, 8)
    x.flags.writeable = False
    assert torch.equal(check_images(x, "x"), check_images(x.tolist(), "x"))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_value(np.nan), "the training images hold 1 values that are NaN or infinite, the first in image 2"),
        (with_value(-np.inf), "hold 1 values that are NaN or infinite"),
        (with_value(255), "from 0 to 255.*floats in \\[0, 1\\]: divide them by 255"),
        (with_value(-2.5), "from -2.5 to 0.*undo any normalisation"),
        (with_value(-1).astype(int), "from -1 to 0; expected bytes in 0..255"),
        (with_value(300).astype(int), "from 0 to 300; expected bytes in 0..255"),
        (np.zeros((0, 8, 8)), "the training images are empty"),
        ([], "the training images are empty"),
        (np.zeros(4), "have the shape 4; expected \\(n, h, w\\)"),
        (np.zeros((4, 1, 1, 8, 8)), "have the shape 4x1x1x8x8"),
        (np.zeros((4, 8, 8, 4)), "4x8x8x4, and so no axis of 1 or 3 channels"),
        (np.zeros((4, 3, 8)), "4x3x8; a side needs at least 4 pixels"),
        (np.full((4, 8, 8), "a"), "are of type <U1; expected bytes"),
        (np.zeros((4, 8, 8), complex), "are of type complex128"),
        ([np.zeros((8, 8)), np.zeros((8, 9))] * 2, "the training images differ in shape"),
        (np.zeros((5, 8, 8)), "the training part has 5 images, but 4 labels"),
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
        (noise(4, 8, 9), turns(4), "the test images are 8x9 grey, but those for training are 8x8 grey"),
        (noise(4, 8, 8, 3), turns(4), "the test images are 8x8 colour"),
        (noise(4, 8, 8), turns(3), "the test part has 4 images, but 3 labels"),
    ],
)
def test_test_parts_that_do_not_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        load_data((noise(4, 8, 8), turns(4), x, y))


@pytest.mark.parametrize("mark", [-1, -100])
def test_examples_without_a_label_are_refused(mark):
    x, missing = noise(6, 8, 8), [0, 1, mark, 2, mark, 1]
    expected = rf"labels hold 2 examples without a label \({mark}\), the first at index 2: leave these out"
    for data in ((x, missing), (x, np.array(missing, float)), (x, turns(6, 3), x, missing)):
        with pytest.raises(ValueError, match=expected):
            load_data(data)
    with pytest.raises(ValueError, match=rf"the test labels hold 6 examples without a label \({mark}\)"):
        load_data((x, turns(6), x, [mark] * 6))


def test_two_marks_of_no_label_are_two_of_none():
    with pytest.raises(ValueError, match=r"hold 3 examples without a label \(-100 and -1\), the first at index 2"):
        load_data((noise(6, 8, 8), [0, 1, -1, 2, -100, -1]))


@pytest.mark.parametrize("kind", [list, tuple, lambda labels: np.array(labels, object)])
def test_a_missing_label_among_names_is_no_name(kind):
    with pytest.raises(ValueError, match="the training labels hold nan, at index 2; a class is a whole number or a"):
        load_data((noise(4, 8, 8), kind(["cat", "dog", float("nan"), "cat"])))


@pytest.mark.parametrize("what", ["images", "labels"])
def test_what_is_masked_is_no_value(what):
    x, y = noise(4, 8, 8), turns(4)
    assert load_data((np.ma.masked_array(x), np.ma.masked_array(y))).classes == ("0", "1")  # nothing is hidden
    masked = {"images": (np.ma.masked_less(x, 99), y), "labels": (x, np.ma.masked_equal(y, 1))}
    with pytest.raises(ValueError, match=f"the training {what} are a masked array; leave out the examples"):
        load_data(masked[what])


@pytest.mark.filterwarnings("ignore")  # torch says that some of these are new, and others old
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda x: x.to("meta"), "are a tensor on the device meta, which holds no values"),
        (lambda x: torch.nested.nested_tensor(list(x)), "are a nested tensor, and may differ in size"),
        (lambda x: torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8), "are of type torch.quint8; expected whole"),
    ],
)
def test_tensors_without_values_of_their_own_are_refused(make, told):
    with pytest.raises(ValueError, match=f"the training images {told}"):
        load_data((make(torch.rand(4, 8, 8)), turns(4)))


def test_lazy_and_short_tensors_are_taken():
    x = torch.rand(4, 8, 8)
    lazy = torch.complex(x, -x).conj().imag
    assert lazy.is_neg() and torch.equal(check_images(lazy, "x"), x[:, None])
    assert check_images(x.to(torch.float8_e4m3fn), "x").dtype == torch.float32


@pytest.mark.parametrize("labels", [[-1, 1], [-2, -1, 0, 1], [-7, 0, 1]])
def test_negative_numbers_may_be_classes(labels):
    x, y = noise(4 * len(labels), 8, 8), labels * 4
    task = load_data((x, y, x[:1], y[:1]))
    assert task.classes == tuple(map(str, labels)) and task.test.y.tolist() == [0]


def test_many_strange_labels_are_cut_short():
    with pytest.raises(ValueError, match="'14' and 5 more, which"):
        load_data((noise(10, 8, 8), turns(10), noise(10, 8, 8), np.arange(10, 20)))


def test_moments_are_those_of_the_training_part_per_channel():
    x = noise(5000, 4, 4, 3)
    mean, std = moments(check_images(x, "x"))
    assert np.allclose(mean, (x / 255).mean((0, 1, 2)), atol=1e-12)
    assert np.allclose(std, (x / 255).std((0, 1, 2)), atol=1e-12)
    assert np.allclose(moments(check_images(x / 255, "x"))[0], mean, atol=1e-7)
    task = load_data((x[:200], turns(200), x[:10], turns(10)))
    assert (task.normalisation.mean, task.normalisation.std) == moments(task.train.x) and not task.flip


def test_a_constant_channel_can_still_be_divided_by():
    task = load_data((np.full((4, 8, 8), 7, np.uint8), turns(4)))
    assert task.normalisation.std == (pytest.approx(1e-3),)
    assert torch.isfinite(task.normalise(task.train.x)).all()


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch, capsys):
    assert list(watch(range(3), 3, "decoding", False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(watch(range(3), 3, "decoding [/red] \x1b[2J", False)) == [0, 1, 2]
    assert r"decoding [/red] \x1b[2J" in capsys.readouterr().err
    assert list(watch(range(3), 3, "decoding", True)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
