"""Labels of a test part mean the classes of a set, whatever they come as."""

import numpy as np
import pytest

from attar.data.test_part import encode, read_test_part

NAMES, NUMBERS = ("cat", "dog", "owl"), ("1", "2", "3")


@pytest.mark.parametrize(
    ("labels", "names", "classes", "codes"),
    [
        (["owl", "cat"], None, NAMES, [2, 0]),
        ([2, 0], None, NAMES, [2, 0]),  # counted from 0, as the classes have names
        ([2, 1], None, NUMBERS, [1, 0]),  # names of classes that are numbers
        ([0, 1], ["owl", "cat"], NAMES, [2, 0]),  # a dataset's own names, in its own order
        ([1, 2], ["1 - one", "2 - two", "3 - three"], NUMBERS, [0, 1]),
        ([True, False], None, ("False", "True"), [1, 0]),
        ([-1, 1], None, ("-1", "1"), [0, 1]),
    ],
)
def test_labels_are_read_as_what_they_most_likely_mean(labels, names, classes, codes):
    assert encode(np.array(labels), names, classes).tolist() == codes


@pytest.mark.parametrize(
    ("labels", "classes"), [(["cow"], NAMES), ([3], NAMES), ([-1], NAMES), ([0, 1], NUMBERS), ([0], ("a", "7"))]
)
def test_labels_of_no_class_are_refused(labels, classes):
    with pytest.raises(ValueError, match=r"the test labels hold .*, but the set's classes are"):
        encode(np.array(labels), None, classes)


def test_images_are_checked_as_those_of_any_data():
    x = np.zeros((2, 8, 8), np.float32)
    assert read_test_part((x, [0, 1]), NAMES, (1, 8, 8)).x.shape == (2, 1, 8, 8)
    x[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"the test images hold .* NaN"):
        read_test_part((x, [0, 1]), NAMES, (1, 8, 8))
    with pytest.raises(ValueError, match="are empty"):
        read_test_part((x[:0], []), NAMES, (1, 8, 8))
