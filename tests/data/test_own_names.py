"""What own data is called: as its user says, in plans, rows, cards and folders."""

import json

import pytest
from sample_files import noise, pictures, stay_alone, turns, write_npy

import attar
from attar.condensed.card import CARD
from attar.condensed.store import MANIFEST, REQUEST
from attar.data.known_sets import DATASETS
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)
ARRAYS = noise(40, 8, 8), turns(40)
NAMES = ["ships", "ships and boats, 2024", "Schiffe größer als 5 m", "船", "own-mnist", "a|b [x]"]
SPACES = ["", " ", " ships", "ships ", "two\nlines", "a\tb", "a  b"]


@pytest.mark.parametrize("name", NAMES)
def test_own_data_is_called_as_its_user_says(tmp_path, name):
    for data in (ARRAYS, pictures(), write_npy(tmp_path / "mine", *ARRAYS)):
        assert load_data(data, name=name).name == name


def test_it_is_said_in_run_card_and_rows(tmp_path):
    made = attar.condense(ARRAYS, "random", 1, name="ships", out=tmp_path / "run")
    assert made.provenance["data"] == "ships"
    for file in (REQUEST, MANIFEST):
        assert json.loads((tmp_path / "run" / file).read_text())["data"] == "ships"
    assert "| Data | ships |" in (tmp_path / "run" / CARD).read_text()
    (row,) = attar.evaluate(made, ARRAYS, name="ships", protocol="quick", seeds=1)
    _, rows = attar.compare(ARRAYS, ["random"], [1], name="ships", protocol="quick", seeds=1)
    assert row.data == rows[0].data == "ships"
    assert attar.plan(ARRAYS, "random", 1, name="ships").seconds >= 0


@pytest.mark.parametrize("name", [*DATASETS, "toy", "MNIST"])
def test_the_name_of_a_known_set_is_refused(name):
    with pytest.raises(ValueError, match=f"name is '{name}', as a known set is called"):
        load_data(ARRAYS, name=name)


@pytest.mark.parametrize("name", [*SPACES, "../m3d/mnist", "a\\b", "\x1b[31m", "\u202eab", "x" * 61])
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match=r"name is '.*expected a line of at most 60 visible letters, without slashes$"):
        load_data(ARRAYS, name=name)


def test_what_has_a_name_keeps_it(task):
    with pytest.raises(ValueError, match="name is for data of your own: this data is called digits"):
        load_data("digits", name="ships")
    with pytest.raises(ValueError, match="name is for data of your own: this data is called toy"):
        attar.condense(task, "random", 1, name="ships")
    with pytest.raises(ValueError, match="name must be a name, not 5"):
        load_data(ARRAYS, name=5)
