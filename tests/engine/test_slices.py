import pytest
import torch

from attar.engine.slices import at_rows, even_size, map_slices


@pytest.mark.parametrize(
    "rows, taken", [(range(2, 5), slice(2, 5)), ((3,), slice(3, 4)), ((1, 3), [1, 3]), ((2, 1), [2, 1])]
)
def test_rows_that_follow_one_another_are_a_slice(rows, taken):
    assert at_rows(rows) == taken and torch.equal(torch.arange(9)[at_rows(rows)], torch.tensor(list(rows)))


def test_slices_have_one_shape_and_lose_nothing():
    shapes = []

    def double(part):
        shapes.append(len(part))
        return 2 * part

    x = torch.randn(10, 3)
    assert torch.equal(map_slices(double, x, 4), 2 * x) and shapes == [4, 4, 4]
    shapes.clear()
    assert torch.equal(map_slices(double, x, 16), 2 * x) and shapes == [10]


@pytest.mark.parametrize("n, slice", [(2560, 256), (640, 214), (320, 160), (256, 256), (7, 7)])
def test_even_slices_waste_next_to_nothing(n, slice):
    assert even_size(n, 256) == slice and -(-n // slice) * slice < n + slice // 50 + 1
