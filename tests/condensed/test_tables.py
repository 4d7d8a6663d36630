"""What a set of rows keeps of its columns, and what it shows."""

import dataclasses

import numpy as np
import pytest
import torch

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import load, save
from attar.condensed.tables import COLUMNS, ROWS, show_rows
from attar.condensed.validate import read_columns
from attar.data.load import load_data
from attar.data.table import Column


def rows(n: int = 12, d: int = 2) -> CondensedSet:
    x = np.random.default_rng(0).normal(0, 9, (n, d))
    return CondensedSet.whole(load_data((x, np.arange(n) % 3, x, np.arange(n) % 3)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([Column("a"), Column("b")], "expected a tuple of columns"),
        (("a", "b"), "expected a tuple of columns"),
        ((Column("a"),), r"there are 1 columns, but the rows have the shape \(2, 1, 1\)"),
        ((Column("a"), Column("b", float("nan"), 1.0)), "the column 'b' goes from nan to 1.0"),
        ((Column("a"), Column("b", 2.0, 1.0)), "the column 'b' goes from 2.0 to 1.0"),
    ],
)
def test_columns_that_no_table_has_are_refused(columns, message):
    made = rows()
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(made, columns=columns)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("a", "the columns are 'a'; expected a list"),
        ([{"name": "a"}], "expected its name, low, high and category"),
        (["a"], "a column is 'a'"),
        (
            [{"name": "a", "low": 0, "high": 1, "category": None, "more": 1}],
            "expected its name, low, high and category",
        ),
    ],
)
def test_entries_of_a_file_that_are_no_columns_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        read_columns(entry)


def test_sets_of_the_same_columns_are_joined_and_others_refused():
    made = rows()
    assert CondensedSet.concat([made, made]).columns == made.columns
    other = dataclasses.replace(made, columns=(Column("a"), Column("b")))
    with pytest.raises(ValueError, match="the sets differ in columns"):
        CondensedSet.concat([made, other])


def test_a_table_is_no_image_and_an_image_no_table(tmp_path):
    made = rows()
    with pytest.raises(ValueError, match="a table has no 8-bit images"):
        made.as_dataset(eight_bit=True)
    images = CondensedSet.whole(load_data("digits"))
    with pytest.raises(ValueError, match="this is a set of images, and no table"):
        images.table()


def test_a_stored_table_is_read_as_it_was(tmp_path):
    made = rows()
    save(made, tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.columns == made.columns and torch.equal(again.images, made.images)
    assert (tmp_path / "run" / "table.csv").read_text(encoding="utf-8").startswith('"x0","x1","label"\n')


def test_what_is_shown_fits_a_page():
    shown = show_rows(rows(300, 40))
    assert len(shown.rows) == ROWS and len(shown.names) == 1 + COLUMNS and shown.names[0] == "label"
    assert shown.note == "270 more rows and 28 more columns" and show_rows(rows(12, 2)).note == ""
    assert show_rows(rows(12, COLUMNS + 1)).note == "1 more column"


def test_a_notebook_shows_text_as_text():
    made = rows()
    made = dataclasses.replace(made, columns=(dataclasses.replace(made.columns[0], name="<b>"), made.columns[1]))
    assert "&lt;b&gt;" in made._repr_html_() and "<b>" not in made._repr_html_()
