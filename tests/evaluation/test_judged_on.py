"""Sets are judged on what a user means, and what a reader should know of that is said."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from conftest import toy
from torch.utils.data import TensorDataset

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=1)
DRAWN = np.random.default_rng(0)
X, Y = DRAWN.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
X_TEST, Y_TEST = DRAWN.integers(0, 256, (30, 8, 8), dtype=np.uint8), np.arange(30) % 3


@pytest.fixture
def judge(caplog):
    """The one row of a set, and what was said."""

    def evaluate(made, *data, **options):
        caplog.clear()
        (row,) = attar.evaluate(made, *data, protocol=QUICK, seeds=1, **options)
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        return row, [record.getMessage() for record in caplog.records if record.name == "attar"]

    return evaluate


@pytest.fixture(scope="module")
def made():
    return attar.condense((X, Y, X_TEST, Y_TEST), "random", 1)


def test_all_of_what_is_given_is_tested_on(made, judge):
    row, told = judge(made, test=(X_TEST, Y_TEST))
    usual, nothing = judge(made, (X, Y, X_TEST, Y_TEST))
    assert not told and not nothing and row.split == "30 images given to test on"
    same = ("accuracy", "per_class", "fingerprint", "tested", "data", "flip")
    assert [getattr(row, name) for name in same] == [getattr(usual, name) for name in same]
    both, told = judge(made, (X, Y), test=(X_TEST, Y_TEST))
    assert both.accuracy == row.accuracy and "made from other training images than those of this arrays" in told[0]


def test_a_dataset_is_tested_on_and_classes_without_an_image_have_no_accuracy(made, judge):
    x, y = torch.from_numpy(X_TEST)[:, None], torch.from_numpy(Y_TEST)
    row, _ = judge(made, test=TensorDataset(x, y))
    assert row.accuracy == judge(made, test=(X_TEST, Y_TEST))[0].accuracy
    row, _ = judge(made, test=(X_TEST[Y_TEST < 2], Y_TEST[Y_TEST < 2]))
    assert row.per_class[2] is None and None not in row.per_class[:2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs the data that was condensed, or images"),
        ({"test": (X_TEST,)}, "test must be"),
        ({"test": "digits"}, "test must be"),
        ({"test": (X, Y, X_TEST, Y_TEST)}, "test must be"),
        ({"test": (X_TEST, Y_TEST), "split": "test"}, "both name the test images"),
        ({"test": (X_TEST, Y_TEST + 1)}, r"the test labels hold '3', but the set's classes are '0', '1', '2'"),
        ({"test": (X_TEST[:9], Y_TEST)}, "9 images, but 30 labels"),
        ({"test": (X_TEST[:, :6], Y_TEST)}, "the test images are 6x8 grey, but those of the set are 8x8 grey"),
    ],
)
def test_what_cannot_be_tested_on_is_refused(options, told, made):
    with pytest.raises(ValueError, match=told):
        attar.evaluate(made, **options)


def test_sets_that_differ_in_mirroring_need_a_word(made, judge):
    mirrored = dataclasses.replace(made, provenance=made.provenance | {"flip": True})
    with pytest.raises(ValueError, match="say flip=True or flip=False"):
        attar.evaluate([made, mirrored], test=(X_TEST, Y_TEST))
    assert judge(mirrored, test=(X_TEST, Y_TEST))[0].flip
    assert not judge(mirrored, test=(X_TEST, Y_TEST), flip=False)[0].flip


def test_training_images_that_may_be_tested_on_are_warned_of(made, judge):
    order = np.random.default_rng(1).permutation(60)
    own = attar.condense((X, Y), "random", 1)
    assert not judge(own, (X, Y))[1]
    for one, data in ((own, (X[order], Y[order])), (made, (X_TEST, Y_TEST)), (made, (X, Y))):
        row, (told,) = judge(one, data)
        assert "the set of random, 1 per class: this set was made from other training images than those of this" in told
        assert f"its own may be among the test images ({row.split}): test=(x, y) tests on" in told
    (told,) = judge(made, test=(X, Y))[1]
    assert "tested on the same images that it was made from" in told


def test_other_data_and_another_test_part_are_said(made, judge):
    (told,) = judge(made, (X[::-1], Y, X_TEST, Y_TEST))[1]
    assert told.endswith("this set was made from other training images than those of this arrays")
    task = attar.load_data((X, Y, X_TEST, Y_TEST))
    (told,) = judge(made, dataclasses.replace(task, split="validation part"))[1]
    assert told.endswith("it is tested on another part (validation part) than its data had (test set)")


def test_a_set_that_does_not_say_what_it_was_made_from_is_believed_and_shards_say_it(made, judge):
    task = attar.load_data((X, Y, X_TEST, Y_TEST))
    row, told = judge(CondensedSet.whole(task), task)
    assert not told and row.fingerprint == task.fingerprint
    joined = CondensedSet.concat([made, made])
    assert not judge(joined, task)[1] and judge(joined, (X, Y))[1]
    assert judge(dataclasses.replace(made, provenance={}), test=(X_TEST, Y_TEST))[0].fingerprint == ""


def test_rows_carry_what_they_are_about(task):
    made = attar.condense(task, "random", 1)
    same, other = (attar.evaluate(made, data, protocol=QUICK, seeds=1)[0] for data in (task, toy(seed=1)))
    assert same.fingerprint == other.fingerprint == task.fingerprint and len({"", same.tested, other.tested}) == 3


def test_an_accuracy_that_the_recipe_does_not_expect_is_said(task, judge):
    made = attar.condense(task, "random", 1)

    def told(**expect):
        return judge(dataclasses.replace(made, provenance=made.provenance | {"expect": expect}), task)[1]

    whole = {"source": "a table", "published": "99"}
    (note,) = told(protocol="quick", accuracy=[101, 102], **whole)
    assert note.endswith("is outside the 101 to 102 that its recipe expects (a table: 99)")
    assert told(protocol="quick", accuracy=[0, 100], **whole) == told(protocol="idc", accuracy=[101, 102]) == []
    # What a file expects only in part is not said.
    assert told(protocol="quick") == told(protocol="quick", accuracy="95") == told(accuracy=[1, 2]) == told() == []
