"""Words for a reader."""

import pytest

from attar.wording import cut, duration, make_visible, size, unknown


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


def test_of_what_is_long_the_beginning_and_the_end_are_shown():
    assert cut("a name") == "a name"
    assert cut("a" + 5000 * "-" + "z", 10) == "a---- … ----z"


def test_an_unknown_name_is_told_the_nearest():
    assert unknown("method", "m3", ["dm", "m3d"]) == "unknown method 'm3', did you mean 'm3d'? known: dm, m3d"


@pytest.mark.parametrize(
    "text, shown",
    [
        ("naïve 猫 עברית नमस्ते", "naïve 猫 עברית नमस्ते"),
        ("a\u200cb\u200dc", "a\u200cb\u200dc"),  # they join letters
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("a\nb\tc\u2028", r"a\nb\tc\u2028"),
        ("\u202eabc\u2066\u200f", r"\u202eabc\u2066\u200f"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_its_code(text, shown):
    assert make_visible(text) == shown
