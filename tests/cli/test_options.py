"""Options that several commands share."""

import numpy as np
import pytest
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
        (["--split", "validation"], "split is validation, but only NumPy files have a part of that name"),
        (["--split", "test"], "split is test, but digits has no test part"),
        (["--name", "mine"], "name is for data of your own: this data is called digits"),
    ],
)
def test_splits_and_names_that_are_refused(here, monkeypatch, capsys, words, sentence):
    assert sentence in refused(monkeypatch, capsys, "condense", "digits", *words)
