"""Words for a reader."""

import pytest

from attar.wording import duration, size, unknown


@pytest.mark.parametrize(
    "count, shown",
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (31_400, "31.4 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB")],
)
def test_sizes_are_rounded_before_their_unit_is_chosen(count, shown):
    assert size(count) == shown


@pytest.mark.parametrize(
    "seconds, shown", [(0.44, "0.4 s"), (59.7, "1 min"), (185.0, "3 min 5 s"), (3599.8, "1 h"), (7260.0, "2 h 1 min")]
)
def test_durations_are_rounded_before_their_unit_is_chosen(seconds, shown):
    assert duration(seconds) == shown


def test_an_unknown_name_is_told_the_nearest():
    assert unknown("method", "m3", ["dm", "m3d"]) == "unknown method 'm3', did you mean 'm3d'? known: dm, m3d"
