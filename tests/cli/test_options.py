"""Options that several commands share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import attar_command, enter, refused

from attar.condensed.store import load

here = pytest.fixture(enter)


@pytest.mark.parametrize(("low", "high"), [("0", "16"), ("-1", "1.5")])
def test_what_black_and_white_are(here, monkeypatch, capsys, low, high):
    black, white = float(low), float(high)
    unit = np.random.default_rng(0).random((40, 8, 8))
    np.savez("mine.npz", x=black + (white - black) * unit, y=np.arange(40) % 2)
    told = refused(monkeypatch, capsys, "condense", "npz:mine.npz")
    assert "--range" in told and "mine.npz: the training images have values from" in told
    words = ["npz:mine.npz", "--range", low, high]
    assert attar_command(monkeypatch, "condense", *words, "--method", "random", "--ipc", "1", "--out", "run") == 0
    assert load(here / "run").normalisation.mean == pytest.approx((0.5,), abs=0.02)
    assert attar_command(monkeypatch, "report", "run", "--data", *words) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["npz:mine.npz", "--range", "16", "0"], "value_range is (16.0, 0.0); expected two numbers"),
        (["digits", "--range", "0", "16"], "value_range is for data of your own"),
    ],
)
def test_ranges_that_are_refused(here, monkeypatch, capsys, words, sentence):
    assert sentence in refused(monkeypatch, capsys, "condense", *words)


@pytest.mark.parametrize(("split", "told"), [("validation", "validation set"), ("held-out", "hold-out: 10 %")])
def test_what_judges_and_what_the_data_is_called(here, monkeypatch, split, told):
    x, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8), np.arange(40) % 2
    np.savez("mine.npz", x=x, y=y, x_test=x, y_test=y, x_val=x[:4], y_val=y[:4])
    words = ["npz:mine.npz", "--split", split, "--name", "my ships"]
    assert attar_command(monkeypatch, "condense", *words, "--method", "random", "--ipc", "1", "--out", "run") == 0
    made = load(here / "run").provenance
    assert made["data"] == "my ships" and made["split"].startswith(told)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--split", "validation"], "split is validation, but only files of your own have a part of that name"),
        (["--split", "test"], "split is test, but digits has no test part"),
        (["--name", "mine"], "name is for data of your own: this data is called digits"),
    ],
)
def test_splits_and_names_that_are_refused(here, monkeypatch, capsys, words, sentence):
    assert sentence in refused(monkeypatch, capsys, "condense", "digits", *words)


def write_photographs(folder: Path) -> None:
    for c, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (40 + i, 36), (40 * c, 20 * i, 90)).save(folder / name / f"{i}.jpg")


def test_photographs_of_any_size(here, monkeypatch, capsys):
    write_photographs(here / "photos")
    (here / "photos" / "dogs" / "6.jpg").write_bytes(b"cut off")
    told = refused(monkeypatch, capsys, "condense", "folder:photos")
    assert "photos/cats/1.jpg is 36x41, but photos/cats/0.jpg is 36x40: all must have one size" in told
    told = refused(monkeypatch, capsys, "condense", "folder:photos", "--size", "16")
    assert "photos/dogs/6.jpg is damaged" in told and "--skip-damaged" in told
    words = ["photos", "--size", "16", "--skip-damaged"]
    assert attar_command(monkeypatch, "condense", *words, "--method", "random", "--ipc", "1", "--out", "run") == 0
    made = load(here / "run")
    assert made.images.shape == (2, 3, 16, 16) and made.provenance["data"] == "photos"
    assert attar_command(monkeypatch, "report", "run", "--data", *words) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["digits", "--size", "16"], "size is for folder:FOLDER"),
        (["npz:mine.npz", "--skip-damaged"], "skip_damaged is for folder:FOLDER"),
        (["digits", "--label-column", "kind"], "label_column is for parquet:PATH"),
        (["folder:photos", "--image-column", "kind"], "image_column is for parquet:PATH"),
        (["folder:photos", "--size", "2"], "size is 2; expected at least 4 pixels"),
    ],
)
def test_options_of_pictures_that_do_not_apply_are_refused(here, monkeypatch, capsys, words, sentence):
    assert sentence in refused(monkeypatch, capsys, "condense", *words)
