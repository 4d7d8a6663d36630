"""The method where none is named: the best that is known for such data, and why."""

import re

import pytest
from conftest import toy

import attar
from attar.runs.default_method import choose

KNOWN = {"mnist": {"1": {"method": "dm", "why": "90 % after 5 s"}, "10": {"method": "idm", "why": "97 % after 9 s"}}}
NOT_COMPARED = "methods were not compared on such data"


@pytest.mark.parametrize(
    "name, channels, side, ipc, recipe, expected, told",
    [
        ("mnist", 1, 28, 1, None, ("dm", "mnist"), "for mnist: on mnist at 1 per class it had 90 % after 5 s"),
        ("mnist", 1, 28, 60, None, ("idm", "mnist"), "on mnist at 10 per class"),
        ("mine", 1, 16, 7, None, ("dm", "mnist"), "on mnist at 1 per class"),
        ("mine", 1, 8, 7, None, ("m3d", "digits"), f"with its recipe for digits: {NOT_COMPARED}"),
        ("fashion-mnist", 1, 28, 1, None, ("dm", "fashion-mnist"), "with its recipe for fashion-mnist: on mnist"),
        ("mine", 3, 16, 1, "mnist", ("dm", "mnist"), "on mnist at 1 per class"),
        ("mine", 3, 16, 1, None, ("m3d", "cifar10"), NOT_COMPARED),
        ("mine", 3, 16, 1, "svhn", ("m3d", "svhn"), NOT_COMPARED),
    ],
)
def test_the_best_that_is_known(name, channels, side, ipc, recipe, expected, told, monkeypatch, caplog):
    monkeypatch.setattr("attar.runs.default_method.read_winners", lambda: KNOWN)
    assert choose(toy(channels, side, name=name), ipc, recipe) == expected
    assert re.search(f"method {expected[0]}, .*{told}", caplog.text)


def test_condensing_without_a_method(monkeypatch, caplog):
    winners = {"digits": {"1": {"method": "random", "why": "quick"}}}
    monkeypatch.setattr("attar.runs.default_method.read_winners", lambda: winners)
    made = attar.condense(toy(name="mine"), ipc=2)
    assert made.provenance["method"] == "random"
    assert "method random, with its recipe for digits: on digits at 1 per class it had quick" in caplog.text
    with pytest.raises(ValueError, match="unknown recipe 'mnits'"):
        attar.condense(toy(), ipc=2, recipe="mnits")


TILED = {None: {"updates": 2}, "m3d": {"updates": 2}, "dance": {"updates": 2, "models": 1, "epochs": 1}}
WHOLE = {"cafe": {"updates": 2}, "random": {}, "herding": {"epochs": 1}}


@pytest.mark.parametrize("ipc", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("method, settings", (TILED | WHOLE).items(), ids=str)
def test_small_classes_get_fewer_tiles_or_one_sentence(method, settings, count, ipc, monkeypatch, caplog):
    monkeypatch.setattr("attar.runs.condense.choose", lambda task, ipc, recipe: ("m3d", "cifar10"))
    monkeypatch.setattr("attar.runs.condense.choose_recipe", lambda task, method: task.name)  # none: its own defaults
    task = toy(counts=(5, count, 6), name="mine")
    if ipc > count and method != "cafe":  # which starts from noise
        with pytest.raises(ValueError, match=f"class '[ab]' has {count} images?, fewer than the {ipc} per class"):
            attar.condense(task, method, ipc, **settings)
        return
    made = attar.condense(task, method, ipc, **settings)
    fewer = method in TILED and count < 4 * ipc
    assert made.labels.bincount().tolist() == [ipc] * 3
    assert made.factor == (2 if method in TILED and not fewer else 1)
    told = f"factor 1, not 2: the smallest class has too few images ({count}) for {ipc} per class"
    assert (told in caplog.text) == fewer


def test_tiles_that_the_caller_or_the_paper_wants_are_refused_where_there_are_too_few_images():
    task = toy(counts=(7, 9, 9))
    for options in ({"factor": 2}, {"published": True}):
        with pytest.raises(
            ValueError, match=r"'a' has 7 images, too few for 2 per class at factor 2, .* factor=1 suits"
        ):
            attar.condense(task, "m3d", 2, updates=2, **options)
    assert attar.condense(task, "m3d", 1, updates=2, factor=2).factor == 2
