"""What was measured is known again by its content, and by nothing else."""

import json
import os

import numpy as np
import pytest
from sample_files import noise, pictures, rewrite, stay_alone, turns, write_npy

from attar.data import measure
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


@pytest.fixture
def measured(monkeypatch) -> list[int]:
    """How many images were measured, set by set; nothing is too small for the cache."""
    seen, moments = [], measure.moments
    monkeypatch.setattr(measure, "moments", lambda x: (seen.append(len(x)), moments(x))[1])
    monkeypatch.setattr(measure, "SMALL", 0)
    return seen


def test_small_sets_leave_nothing_in_the_cache(tmp_path):
    load_data((noise(4, 8, 8), turns(4)))
    load_data(pictures())
    load_data(write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40)))
    assert not (tmp_path / "cache").exists()


def test_the_same_content_is_measured_once_wherever_it_comes_from(tmp_path, measured):
    arrays = noise(40, 8, 8), turns(40), noise(4, 8, 8), turns(4)
    first = load_data(write_npy(tmp_path / "mine", *arrays))
    os.utime(tmp_path / "mine/x_train.npy")
    for data in (f"npy:{tmp_path / 'mine'}", write_npy(tmp_path / "copy", *arrays), arrays):
        again = load_data(data)
        assert (again.normalisation, again.fingerprint) == (first.normalisation, first.fingerprint)
    assert measured == [40]


@pytest.mark.parametrize("file", ["x_train", "y_train"])
def test_other_values_in_a_file_of_the_same_size_and_time_are_noticed(tmp_path, measured, file):
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40), noise(4, 8, 8), turns(4))
    first = load_data(data)
    values = {"x_train": noise(40, 8, 8, mean=0.1), "y_train": 1 - turns(40)}[file]
    rewrite(tmp_path / f"mine/{file}.npy", lambda content: content[: -values.nbytes] + values.tobytes())
    second = load_data(data)
    assert second.fingerprint != first.fingerprint and measured == [40, 40]
    assert (second.normalisation.mean < first.normalisation.mean) == (file == "x_train")


def test_another_part_of_the_same_file_is_measured_on_its_own(tmp_path, measured):
    x = noise(40, 8, 8)
    x[:20] //= 2
    data = write_npy(tmp_path / "mine", x, turns(40), x[:8], turns(8))
    whole, part = load_data(data), load_data(data, split="held-out")
    assert measured == [40, 36] and whole.fingerprint != part.fingerprint
    assert whole.normalisation != part.normalisation


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: text.replace("0.", "0.9", 1),
        lambda text: "[" * 5000,
        lambda text: "[]",
        lambda text: '{"mean": [0.5], "std": [0.5]}',
        lambda text: json.dumps({**json.loads(text), "checksum": [0]}),
    ],
)
def test_a_damaged_entry_is_dropped_said_and_made_anew(tmp_path, measured, caplog, damage):
    data = write_npy(tmp_path / "mine", noise(40, 8, 8), turns(40), noise(4, 8, 8), turns(4))
    first = load_data(data)
    (entry,) = (tmp_path / "cache/measured").iterdir()
    whole = entry.read_text()
    entry.write_text(damage(whole))
    assert load_data(data).normalisation == first.normalisation
    assert f"{entry} is damaged" in caplog.text and "measured anew" in caplog.text and len(caplog.records) == 1
    assert entry.read_text() == whole
    load_data(data)
    assert measured == [40, 40] and len(caplog.records) == 1


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, measured):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "file"))
    arrays = noise(40, 8, 8), turns(40)
    assert load_data(arrays).normalisation == load_data(arrays).normalisation
    assert np.isclose(load_data(arrays).normalisation.mean[0], 0.5, atol=0.02) and measured == [36] * 3
