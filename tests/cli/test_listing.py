"""`attar list`: what there is, with what a recipe does differently."""

import dataclasses

import pytest
from typed import attar_command

from attar.methods import find, list_names


def test_a_recipe_is_listed_with_every_value_and_the_papers_in_brackets(monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", "recipes", "dance", "cifar10") == 0
    about, *rows = capsys.readouterr().out.splitlines()
    values = {line[:16].strip(): line[17:].split("  ") for line in rows}
    values = {name: [value for value in map(str.strip, own) if value] for name, own in values.items()}
    assert about.startswith("dance/cifar10") and values["images a class"] == ["1", "2", "10", "50"]
    assert values["calibration"] == ["100.0 (1.0)", "10.0 (1.0)", "1.0", "1.0"]
    assert set(values) == {"images a class", *(field.name for field in dataclasses.fields(find("dance")))}


def test_recipes_are_listed_in_a_line_each_or_of_one_method_only(monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", "recipes") == 0
    every = capsys.readouterr().out.splitlines()
    assert attar_command(monkeypatch, "list", "recipes", "m3d") == 0
    own = capsys.readouterr().out.splitlines()
    assert own == [line for line in every if line.startswith("m3d/")] and len(every) > 4 * len(own) > 0


@pytest.mark.parametrize(
    "words, told",
    [
        (("recipes", "m3e"), "unknown method 'm3e', did you mean"),
        (("recipes", "m3d", "mni"), "unknown data set with a recipe of m3d, 'mni', did you mean 'mnist'?"),
        (("recipes", "m3d", "mnist", "more"), "'more' is one word too many"),
        (("methods", "m3d"), "'m3d' is one word too many"),
    ],
)
def test_what_is_not_there_is_not_listed(words, told, monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", *words) == 2
    assert told in capsys.readouterr().err


def test_methods_say_what_they_need(monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", "methods") == 0
    lines = capsys.readouterr().out.splitlines()
    needs = dict(zip((line.split()[0] for line in lines[::2]), lines[1::2], strict=True))
    assert needs.keys() == set(list_names()) and all(line.strip().startswith("Needs ") for line in needs.values())


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
