"""The one way in: whatever a user has becomes a task, or is refused by name."""

import numpy as np
import pytest
import torch
from sample_files import encoded, noise, pictures, stay_alone, turns, write_npy, write_parquet

from attar.data.known_sets import DATASETS
from attar.data.load import load_data
from attar.data.readers import READERS, Reader
from attar.data.task import Task

alone = pytest.fixture(autouse=True)(stay_alone)


def test_a_task_is_returned_as_it_is(task):
    assert load_data(task) is task


def test_an_unknown_name_lists_the_known_and_the_nearest():
    expected = r"unknown data set 'cifar'.*did you mean 'cifar10'\?.*digits, mnist.*npz:PATH, npy:FOLDER"
    with pytest.raises(ValueError, match=expected):
        load_data("cifar")


def test_the_network_is_the_one_asked_for():
    assert load_data("digits", network="mlp").network.name == "MLP"
    with pytest.raises(ValueError, match="unknown network"):
        load_data("digits", network="mpl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 2, 3), "a tuple of 3 is no data"),
        (7, "int is no data"),
        ({"x": 1}, "dict is no data"),
        (noise(4, 8, 8), "ndarray is no data"),
        (iter([]), "is no data"),
        ("", "unknown data set ''; known: digits"),
        ("npz:", "unknown data set 'npz:'.* npz:PATH"),
    ],
)
def test_what_is_no_data(data, message):
    with pytest.raises(ValueError, match=message):
        load_data(data)


def test_arrays_with_a_test_part():
    x, y, x_test, y_test = noise(12, 8, 6), turns(12), noise(4, 8, 6), turns(4)
    before = x.copy()
    task = load_data((x, y, x_test, y_test))
    assert isinstance(task, Task) and task.split == "test set" and task.name == "arrays"
    assert task.shape == (1, 8, 6) and task.train.y.dtype == torch.int64 and not task.flip
    assert np.array_equal(task.train.x[:, 0].numpy(), x) and np.array_equal(task.test.x[:, 0].numpy(), x_test)
    task.train.x.zero_()
    assert np.array_equal(x, before)


def test_one_table_holds_the_readers_of_all_prefixes(tmp_path, monkeypatch):
    """A further line there is a further kind of file: what lists, refuses and reads them needs no other."""
    from attar.cli.listing import LISTS

    def read(path, reading):
        return READERS["npz"].read(path, reading)

    monkeypatch.setitem(READERS, "mat", Reader(read, "FILE", "images of another kind"))
    np.savez(tmp_path / "mine.npz", x=noise(40, 8, 8), y=turns(40))
    assert load_data(f"mat:{tmp_path / 'mine.npz'}").name == "mine"
    assert ("mat:FILE", "images of another kind") in list(LISTS["datasets"]())
    with pytest.raises(ValueError, match=r"npz:PATH, npy:FOLDER, .*mat:FILE"):
        load_data("tiff:mine")


@pytest.mark.parametrize("name", [*DATASETS, "toy"])
def test_own_data_called_as_a_known_set_is_told_apart(tmp_path, name):
    """Else it would take that set's recipe, and be compared with numbers that were measured on that set."""
    np.savez(tmp_path / f"{name}.npz", x=noise(40, 8, 8), y=turns(40))
    task = load_data(f"npz:{tmp_path / name}.npz")
    assert task.name == f"own-{name}" and len(task.train.y) + len(task.test.y) == 40
    assert task.normalisation.mean == pytest.approx((0.5,), abs=0.02)


def test_own_data_of_another_name_keeps_it(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", x=noise(40, 8, 8), y=turns(40))
    assert load_data(f"npz:{tmp_path / 'mine.npz'}").name == "mine"
    assert load_data("digits").name == "digits"
    folder = tmp_path / "folder"
    write_npy(folder, noise(40, 8, 8), turns(40))
    monkeypatch.chdir(folder)
    assert load_data("npy:.").name == "folder"


def test_a_bar_is_drawn_unless_quiet(monkeypatch, capsys):
    load_data(pictures())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load_data(pictures())
    assert "decoding" in capsys.readouterr().err
    load_data(pictures(), quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"root": 5}, "root must be a path, not 5"),
        ({"root": "~nobody-of-that-name"}, "root is ~nobody-of-that-name, but there is no such home folder"),
        ({"download": "yes"}, "download must be True or False, not 'yes'"),
        ({"network": 5}, "network must be a name, not 5"),
        ({"flip": "off"}, "flip must be True or False, not 'off'"),
        ({"value_range": ()}, "value_range is (); expected two numbers"),
    ],
)
def test_arguments_are_checked_before_any_work(options, sentence):
    with pytest.raises(ValueError) as refusal:
        load_data("mnist" if "value_range" not in options else (noise(4, 8, 8), turns(4)), **options)
    assert str(refusal.value).startswith(sentence)


def test_a_task_is_the_same_whatever_torch_is_set_to():
    arrays = noise(40, 8, 8), turns(40)
    expected = load_data(arrays)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            task = load_data(arrays)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not task.train.x.is_inference() and task.device.type == "cpu"
    assert (task.fingerprint, task.normalisation) == (expected.fingerprint, expected.normalisation)


@pytest.mark.parametrize("kind", ["npz", "npy", "parquet", "folder"])
def test_a_path_alone_is_read_by_its_content(tmp_path, caplog, kind):
    place = tmp_path / "mine.data"
    if kind == "npz":
        with place.open("wb") as file:
            np.savez(file, x=noise(40, 8, 8), y=turns(40))
    elif kind == "npy":
        write_npy(place, noise(40, 8, 8), turns(40))
    elif kind == "parquet":
        write_parquet(place, noise(40, 8, 8), turns(40))
    else:
        for i, picture in enumerate(noise(40, 8, 8)):
            (place / str(i % 2)).mkdir(parents=True, exist_ok=True)
            (place / str(i % 2) / f"{i:02}").write_bytes(encoded(picture))
    task = load_data(str(place))
    assert f"{place} is read as {kind}:{place}" in caplog.text
    named = load_data(f"{kind}:{place}")
    assert (task.fingerprint, task.name) == (named.fingerprint, named.name)


def test_a_path_alone_that_may_be_read_in_two_ways_is_refused(tmp_path):
    write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40))
    (tmp_path / "mine" / "cats").mkdir()
    (tmp_path / "mine" / "cats" / "1.png").write_bytes(encoded(noise(8, 8)))
    with pytest.raises(ValueError, match=r"mine is a path, .* a prefix does, as folder:.*mine or npy:.*mine$"):
        load_data(str(tmp_path / "mine"))


def test_a_file_alone_that_no_reader_knows_is_refused_with_the_prefixes_of_files(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"neither numbers nor pictures")
    with pytest.raises(ValueError, match=r"as parquet:\S*mine.npz or npz:\S*mine.npz or table:\S*mine.npz$"):
        load_data(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize("data", [(noise(4, 8, 8), turns(4)), pictures(), "digits"])
@pytest.mark.parametrize("option", [{"size": 8}, {"skip_damaged": True}, {"image_column": "a"}, {"label_column": "a"}])
def test_an_option_of_other_data_is_refused(data, option):
    with pytest.raises(ValueError, match=rf"^{next(iter(option))} is for .*parquet:PATH.* alone$"):
        load_data(data, **option)
