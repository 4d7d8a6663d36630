import re

import pytest
from conftest import toy

import attar
from attar.choice import chosen

KNOWN = {"mnist": {"1": {"method": "dm", "why": "90 % after 5 s"}, "10": {"method": "idm", "why": "97 % after 9 s"}}}


@pytest.mark.parametrize(
    "name, channels, ipc, recipe, expected, told",
    [
        ("mnist", 1, 1, None, ("dm", "mnist"), "method dm: 90 % after 5 s, on mnist at 1 per class"),
        ("mnist", 1, 60, None, ("idm", "mnist"), "on mnist at 10 per class"),
        ("mine", 1, 7, None, ("dm", "mnist"), r"on mnist \(the nearest compared\) at 1 per class"),
        ("fashion-mnist", 1, 1, None, ("dm", "fashion-mnist"), r"on mnist \(the nearest compared\)"),
        ("mine", 3, 1, "mnist", ("dm", "mnist"), "on mnist at 1 per class"),
        ("mine", 3, 1, None, ("m3d", None), "no comparison of methods on such data"),
        ("mine", 3, 1, "svhn", ("m3d", "svhn"), "no comparison of methods on such data"),
    ],
)
def test_the_best_that_is_known(name, channels, ipc, recipe, expected, told, monkeypatch, caplog):
    monkeypatch.setattr("attar.choice.winners", lambda: KNOWN)
    assert chosen(toy(channels, name=name), None, ipc, recipe) == expected
    assert re.search(told, caplog.text)


def test_who_names_a_method_gets_it(monkeypatch, caplog):
    assert chosen(toy(name="mnist"), "random", 1, None) == ("random", None)
    with pytest.raises(ValueError, match="unknown recipe 'mnits'"):
        chosen(toy(), "random", 1, "mnits")
    assert not caplog.text


def test_condensing_without_a_method(monkeypatch, caplog):
    monkeypatch.setattr("attar.choice.winners", lambda: {"mnist": {"1": {"method": "random", "why": "quick"}}})
    made = attar.condense(toy(name="mine"), ipc=2)
    assert made.provenance["method"] == "random" and "method random: quick" in caplog.text
