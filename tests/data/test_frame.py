"""Tables as they come from Python: which are taken, what becomes of them, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sample_files import noise, turns
from sklearn.datasets import load_iris, load_wine

from attar.data.frame import is_table
from attar.data.load import load_data

PEOPLE = {
    "age": [30, 40, 50, 20, 35, 60],
    "smokes": [True, False, True, False, False, True],
    "town": ["Ulm", "Bonn", "Ulm", "Köln", "Ulm", "Bonn"],
}
SICK = ["no", "yes", "no", "yes", "no", "yes"]


def numbers(n: int = 12, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(5, 20, (n, d))


def people(**changes) -> pd.DataFrame:
    return pd.DataFrame(PEOPLE | changes)


@pytest.mark.parametrize(
    "make", [np.asarray, torch.as_tensor, np.ndarray.tolist, pd.DataFrame, lambda x: x.astype("f4")]
)
def test_two_axes_are_a_table(make):
    x = numbers()
    task = load_data((make(x), turns(12), make(x), turns(12)))
    assert task.shape == (3, 1, 1) and task.called == "row" and len(task.columns) == 3
    assert task.network.name == "MLP" and not task.flip
    assert task.train.x.amin(0).flatten().tolist() == [0, 0, 0] and task.train.x.amax(0).flatten().tolist() == [1, 1, 1]
    for column, low, high in zip(task.columns, x.min(0), x.max(0), strict=True):
        assert column.category is None and (column.low, column.high) == pytest.approx((low, high), rel=1e-6)
    seen = task.normalise(task.train.x)
    torch.testing.assert_close(seen.mean(0), torch.zeros(3, 1, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(3, 1, 1), atol=1e-4, rtol=0)


def test_images_are_no_table():
    assert not any(map(is_table, (noise(4, 8, 8), torch.zeros(4, 1, 8, 8), noise(4, 8, 8).tolist(), [], [noise(8, 8)])))
    assert load_data((noise(12, 8, 8), turns(12))).columns is None


def test_columns_are_scaled_by_what_is_trained_on():
    """Not by rows that judge, given or held out."""
    x = np.concatenate([numbers(40), [[1e4, -1e4, 0]]])
    y = np.append(turns(40), 1)
    given = load_data((x[:40], y[:40], x[40:], [1]))
    assert given.columns[0].high == x[:40, 0].max() and given.test.x.max() > 10
    held = load_data((x, y))
    whole = torch.cat([held.train.x, held.test.x])
    assert held.train.x.min() == 0 and held.train.x.max() == 1 and len(whole) == 41


def test_categories_are_told_and_become_channels(caplog):
    task = load_data((people(), SICK, people(), SICK))
    told = "the training table: columns taken for categories, a channel each: 'smokes' (2), 'town' (3); 5 of 6 channels"
    assert told in caplog.text
    assert [(c.name, c.category) for c in task.columns] == [
        ("age", None), ("smokes", "False"), ("smokes", "True"), ("town", "Bonn"), ("town", "Köln"), ("town", "Ulm")
    ]  # fmt: skip
    assert task.train.x[0].flatten().tolist() == [0.25, 0, 1, 0, 0, 1]
    assert task.classes == ("no", "yes")


def test_numbers_are_categories_only_when_asked(caplog):
    x = people(town=[1, 2, 1, 3, 1, 2])
    assert len(load_data((x, SICK, x, SICK)).columns) == 4
    asked = load_data((x, SICK, x, SICK), categories=["town"])
    assert [c.category for c in asked.columns if c.name == "town"] == ["1", "2", "3"]
    with pytest.raises(ValueError, match="has no column 'city' of categories; its columns are 'age', 'smokes', 'town'"):
        load_data((x, SICK, x, SICK), categories=["city"])
    with pytest.raises(ValueError, match="categories is for columns of a table, and these are images"):
        load_data((noise(12, 8, 8), turns(12)), categories=["x0"])


def test_columns_are_matched_by_name():
    x = people()
    task = load_data((x, SICK, x[["town", "age", "smokes"]], SICK))
    assert torch.equal(task.train.x, task.test.x)


def with_value(value) -> np.ndarray:
    x = numbers()
    x[7, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            with_value(np.nan),
            "the training table has no value in the column 'x1' in row 7: fill it in, or leave it out",
        ),
        (people(town=["Ulm", None, "Ulm", "Köln", "Ulm", "Bonn"]), "no value in the column 'town' in row 1"),
        (people(town=[np.nan] * 6), "no value in the column 'town' in row 0"),
        (people(smokes=[True, None, True, True, True, True]), "no value in the column 'smokes' in row 1"),
        (with_value(-np.inf), "the column 'x1' holds -inf in row 7; expected finite numbers"),
        (with_value(1.7e308), "the column 'x1' holds 1.7e\\+308 in row 7; expected finite numbers"),
        (np.zeros((0, 3)), "the training table has no rows"),
        (np.zeros((12, 0)), "the training table has no column besides that of the labels"),
        (numbers(5), "the training part has 5 rows, but 12 labels"),
        (pd.DataFrame(numbers(), columns=["a", "b", "a"]), "the training table has two columns 'a'"),
        (
            people(town=pd.Timestamp("2020-01-01")),
            "the column 'town' holds object; expected numbers, text, or true and",
        ),
        (numbers().astype(complex), "the column 'x0' holds complex128; expected numbers, text"),
        (torch.ones(12, 3).to_sparse(), "table are a sparse tensor; expected a dense one"),
        ([[1, 2, 3], [1, 2]] * 6, "differ in shape, and so make no array"),
    ],
)
def test_tables_that_are_refused(x, message):
    y = SICK if isinstance(x, pd.DataFrame) and len(x) == 6 else turns(12)
    with pytest.raises(ValueError, match=message):
        load_data((x, y))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            [f"p{i}" for i in range(3000)],
            "'c' holds 3,000 different values in 3,000 rows, such as 'p0', and so no categ",
        ),
        ([f"p{i % 1001}" for i in range(3000)], "'c' holds 1,001 different values in 3,000 rows"),
        ([f"p{i}" for i in range(21)] * 2, None),
        ([f"p{i}" for i in range(22)] + ["p0"], "'c' holds 22 different values in 23 rows"),
        (
            [str(i) for i in range(40)] * 3 + ["?"],
            "'c' holds numbers, but '\\?' in row 120; expected numbers alone, or cat",
        ),
        (["2", "3", "4", "more"] * 10, None),
    ],
)
def test_texts_that_are_no_categories(texts, message):
    x = pd.DataFrame({"a": range(len(texts)), "c": texts})
    if message is None:
        assert len(load_data((x, turns(len(x)))).columns) == 1 + len(set(texts))
        return
    with pytest.raises(ValueError, match=message):
        load_data((x, turns(len(x))))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            people(town=["Rom"] * 6),
            "the test table: the column 'town' holds 'Rom' in row 0, a category that no training",
        ),
        (
            people(age=["30", "x", "1", "2", "3", "4"]),
            "'age' holds 'x' in row 1; expected numbers, as in the training part",
        ),
        (
            people().drop(columns="age"),
            "the test table lacks the column 'age'; expected the columns 'age', 'smokes', 'town'",
        ),
        (people(id=range(6)), "the test table has a column 'id'; expected the columns"),
        (noise(6, 8, 8), "the test table has the shape 6x8x8; expected rows and columns"),
    ],
)
def test_test_parts_of_tables_that_do_not_fit(test, message):
    with pytest.raises(ValueError, match=message):
        load_data((people(), SICK, test, SICK))


def test_a_rare_category_that_is_held_out_says_nothing():
    x = pd.DataFrame({"a": range(40), "c": ["rare", *["usual"] * 39]})
    tasks = [
        load_data((x.iloc[order], turns(40)[order])) for order in (np.roll(np.arange(40), k) for k in range(0, 40, 2))
    ]
    assert all(task.normalise(task.test.x).abs().max() < 100 for task in tasks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_range": (0, 16)}, "value_range is for images, and this is a table"),
        ({"flip": True}, "flip is for images: rows of a table have no mirror image"),
        ({"network": "convnet"}, "network convnet is for images, and these are rows of a table: mlp"),
    ],
)
def test_options_of_images_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load_data((numbers(), turns(12)), **options)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_known_tables_are_read_with_their_names(load):
    data = load(as_frame=True)
    task = load_data((data.data, data.target_names[data.target]), name="flowers")
    assert [c.name for c in task.columns] == list(data.feature_names)
    assert task.classes == tuple(sorted(data.target_names))
    assert task.fingerprint == load_data((data.data.to_numpy(), data.target_names[data.target])).fingerprint
