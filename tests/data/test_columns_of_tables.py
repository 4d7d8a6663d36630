"""Rows of a table as channels of one pixel: scaled, and back in their own units."""

import numpy as np
import pytest
import torch

from attar.data.table import Column, measure_columns, name_labels, restore, scale


def rows(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, :, None, None]


def test_the_ends_of_the_training_part_become_0_and_1_and_others_may_lie_beyond():
    columns = measure_columns((Column("a"), Column("b")), rows([10, -1], [30, 3], [20, 1]))
    assert [(c.low, c.high) for c in columns] == [(10, 30), (-1, 3)]
    assert scale(columns, rows([10, 3], [40, -3])).flatten(1).tolist() == [[0, 1], [1.5, -0.5]]


@pytest.mark.parametrize("value", [0.0, 5.0, -1e300])
def test_a_column_of_one_value_becomes_0_wherever_a_test_row_lies(value):
    columns = measure_columns((Column("a"),), rows([value], [value]))
    assert scale(columns, rows([value], [7.0])).flatten().tolist() == [0, 0]
    assert restore(columns, torch.zeros(1, 1, 1, 1))["a"].tolist() == [value]


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e9, 1e200])
def test_numbers_come_back_without_what_float32_makes_up(size):
    given = np.array([1.3, 1.301, 14.2]) * size
    x = rows(*([value] for value in given))
    columns = measure_columns((Column("a"),), x)
    found = restore(columns, scale(columns, x))["a"]
    assert np.abs(found - given).max() < 2e-6 * size
    if size == 1:
        assert found.tolist() == given.tolist()


def test_large_numbers_that_differ_by_little_stay_apart():
    x = rows([1.7e9], [1.7e9 + 1], [1.7e9 + 2])  # as seconds since 1970, which float32 would take for one
    columns = measure_columns((Column("time"),), x)
    assert scale(columns, x).flatten().tolist() == [0, 0.5, 1]


def test_of_the_channels_of_categories_the_largest_counts():
    columns = Column("a", 0.0, 10.0), Column("c", category="red"), Column("c", category="blue"), Column("b", 0.0, 2.0)
    found = restore(columns, rows([0.5, 0.2, 0.1, 1.0], [0.25, -0.4, 0.3, 0.0]).float())
    assert list(found) == ["a", "c", "b"]
    assert found["a"].tolist() == [5, 2.5] and found["b"].tolist() == [2, 0]
    assert found["c"].tolist() == ["red", "blue"]


def test_a_category_that_no_training_row_has_says_nothing():
    columns = measure_columns((Column("c", category="a"), Column("c", category="b")), rows([1, 0], [1, 0]))
    assert scale(columns, rows([0, 1])).flatten().tolist() == [0, 0]
    assert restore(columns, torch.zeros(1, 2, 1, 1))["c"].tolist() == ["a"]


def test_labels_have_a_name_that_no_column_has():
    assert name_labels(["a"]) == "label" and name_labels(["label"]) == "target"
    assert name_labels(["label", "target", "class", "y", "label0"]) == "label1"
