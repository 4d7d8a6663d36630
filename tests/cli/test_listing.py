"""`attar list`: what there is, with what a recipe does differently."""

import pytest
from typed import attar_command

from attar.cli.listing import LISTS


def test_recipes_are_listed_at_every_budget_that_has_values_of_its_own():
    lines = list(LISTS["recipes"]())
    first = [name for name, _ in lines].index("dance/cifar10") + 1
    told = {
        name.strip(): [weight for weight in ("100.0", "10.0") if f"calibration {weight} " in about]
        for name, about in lines[first : first + 3]
    }
    assert told == {"at 1": ["100.0"], "at 2": ["10.0"], "at 10, 50": []}


@pytest.mark.parametrize(
    "what, word",
    [
        ("methods", "m3d"),
        ("datasets", "cifar10"),
        ("networks", "convnet"),
        ("protocols", "idc"),
        ("recipes", "m3d/mnist"),
    ],
)
def test_list(what, word, monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", what) == 0
    assert word in capsys.readouterr().out
