"""Recipes: which value wins, what each shipped one holds, and how a wrong setting is refused."""

import dataclasses
import inspect

import pytest
from conftest import toy

from attar.data.known_sets import DATASETS
from attar.methods import find, list_names
from attar.methods.distribution._settings import Settings
from attar.runs.condense import condense, decide
from attar.runs.recipe import list_shipped, parse_setting, resolve, suit


def test_later_sources_win():
    plain = resolve("m3d", "unheard-of", 1, {})
    assert plain.hyperparameters["updates"] == 10_000 and plain.sources == ("M3D defaults",)
    recipe = resolve("m3d", "mnist", 1, {})
    assert recipe.hyperparameters["batch_real"] == 64 and recipe.sources[-1].startswith("recipe m3d/mnist")
    assert resolve("m3d", "mnist", 1, {"batch_real": 7}).hyperparameters["batch_real"] == 7


def test_no_budget_is_impossible_and_between_two_the_lower_is_taken():
    one, ten = (resolve("m3d", "mnist", n, {}).hyperparameters for n in (1, 10))
    between = resolve("m3d", "mnist", 7, {})
    assert between.hyperparameters == one != ten
    assert between.sources[-1] == "recipe m3d/mnist, its values for 1 images per class"
    assert resolve("m3d", "mnist", 500, {}).hyperparameters == ten
    assert resolve("m3d", "mnist", 7, {}).expect == {} and resolve("m3d", "mnist", 1, {}).expect["protocol"] == "idc"


def test_a_recipe_expects_nothing_of_other_settings_data_or_networks():
    def expected(data="mnist", recipe=None, network="convnet", **settings):
        task = dataclasses.replace(toy(1, 28, name=data)).with_network(network)
        return decide(task, "m3d", 1, recipe, settings, False)[1].expect

    assert expected()["protocol"] == "idc" == expected(recipe="mnist")["protocol"]
    assert not any([expected(updates=7), expected("mine", recipe="mnist"), expected(network="mlp")])


def test_published_settings_come_first_and_alone_where_asked(monkeypatch):
    recipe = {
        "published": {"steps": 7, "ipc": {"1": {"interval": 5}}},
        "defaults": {"batch_real": 9},
        "ipc": {"1": {"steps": 3}},
    }
    monkeypatch.setattr("attar.runs.recipe.read_recipe", lambda method, data: recipe)
    paper, faster = (resolve("idm", "some", 1, {}, published).hyperparameters for published in (True, False))
    assert [paper[key] for key in ("steps", "interval", "batch_real")] == [7, 5, 256]
    assert [faster[key] for key in ("steps", "interval", "batch_real")] == [3, 5, 9]
    sources = resolve("idm", "some", 1, {}, True).sources
    assert sources == ("IDM defaults", "published for some, its values for 1 images per class")


def test_a_recipe_like_another_takes_over_what_attar_does_not_what_was_published():
    mnist, fashion = (resolve("m3d", data, 1, {}) for data in ("mnist", "fashion-mnist"))
    assert fashion.hyperparameters == mnist.hyperparameters and fashion.expect == {} != mnist.expect
    assert fashion.sources[-1].startswith("recipe m3d/fashion-mnist, as for mnist")
    faster, paper = (resolve("idm", "cifar100", 10, {}, published).hyperparameters for published in (False, True))
    assert (paper["steps"], paper["calibration"], paper["optimiser"]) == (50, 0.1, "sgd")
    assert (faster["steps"], faster["calibration"], faster["optimiser"]) == (10, 0.5, "adam")
    step = ("optimiser", "lr", "momentum")
    ncfm = [resolve("ncfm", data, 10, {}).hyperparameters for data in ("cifar10", "cifar100")]
    assert [ncfm[0][key] for key in step] == [ncfm[1][key] for key in step]


def test_every_shipped_recipe_resolves_and_says_what_to_expect():
    learned = [name for name in list_names() if "updates" in {field.name for field in dataclasses.fields(find(name))}]
    every = {(method, data) for method in learned for data, known in DATASETS.items() if not known.made_of}
    assert {(method, data) for method, data, _ in list_shipped()} == every
    for method, data, content in list_shipped():
        assert method in list_names() and content["about"]
        for ipc in (1, 10, 50):
            for published in (True, False):
                resolve(method, data, ipc, {}, published)
        for expected in content.get("expect", {}).values():
            assert {"protocol", "accuracy", "published", "source"} == expected.keys()


@pytest.mark.parametrize(
    "method, ipc, settings, sentence",
    [
        ("m3", 1, {}, r"unknown method 'm3', did you mean 'm3d'\? known: "),
        ("m3d", 0, {}, "whole number of images per class, at least 1, not 0"),
        ("m3d", 1, {"update": 5}, r"unknown hyper-parameter of M3D 'update', did you mean 'updates'\?"),
        ("m3d", 1, {"updates": 0}, "updates must be a number of at least 1, not 0"),
        ("m3d", 1, {"lr": float("nan")}, "lr must be a number of at least 0"),
        ("m3d", 1, {"lr": "fast"}, "lr must be of type float, not 'fast'"),
        ("m3d", 1, {"updates": 2.5}, "updates must be of type int"),
        ("m3d", 1, {"discrepancy": "energy"}, "M3D no longer has .* 'discrepancy': use --method discrepancy"),
        ("discrepancy", 1, {"discrepancy": "gausian"}, r"for discrepancy 'gausian', did you mean 'gaussian'\?"),
        ("random", 1, {"lr": 1.0}, "Random has no hyper-parameters, so no 'lr'"),
    ],
)
def test_refusals(method, ipc, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        resolve(method, "mnist", ipc, settings)


@pytest.mark.parametrize("method", ["dance", "dm", "idm", "m3d", "ncfm"])
def test_what_a_method_no_longer_has_says_what_to_do_instead(method):
    cls = find(method)
    assert list(cls.retired) == list(Settings.retired) == ["networks", "warm", "draw", "discrepancy", "features"]
    for key, (value, instead) in cls.retired.items():
        with pytest.raises(ValueError, match=f"{cls.__name__} no longer has the hyper-parameter {key!r}: {instead}"):
            resolve(method, "mnist", 1, {key: value})


def test_settings_of_the_command_line():
    typed = {"lr=0.5": ("lr", 0.5), "init=mix": ("init", "mix"), "updates=10": ("updates", 10)}
    assert {text: parse_setting(text) for text in typed} == typed
    with pytest.raises(ValueError, match="written key=value"):
        parse_setting("lr")


def test_a_recipe_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr("attar.runs.recipe.VERSION", 2)
    with pytest.raises(ValueError, match="recipe m3d/mnist has version 1; this attar reads version 2"):
        resolve("m3d", "mnist", 1, {})


def test_images_too_large_to_be_whitened_are_not_and_that_is_said(caplog):
    large, told = toy(3, 40), "zca=False, because images of more than 4,096 numbers are not whitened"
    found = suit(resolve("mtt", "cifar10", 1, {}), large, {})
    assert not found.method.zca and found.sources[-1] == told and told in caplog.text
    assert suit(resolve("mtt", "cifar10", 1, {}), toy(3, 8), {}).method.zca
    with pytest.raises(ValueError, match="zca is True, but images of more than 4,096 numbers are not"):
        suit(resolve("mtt", "cifar10", 1, {"zca": True}), large, {"zca": True})


def test_no_setting_of_a_method_has_the_name_of_an_option():
    """Settings are passed beside the options of `condense`, by name."""
    options = set(inspect.signature(condense).parameters)
    assert not [name for name in list_names() if options & {f.name for f in dataclasses.fields(find(name))}]
