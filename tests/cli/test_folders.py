"""Folders: how they are named, and what is typed to go on in them."""

import sys
from pathlib import Path

import pytest
from typed import attar_command, enter

from attar.cli.folders import choose_folder, find_sets, say_how_to_resume, shorten_data

here = pytest.fixture(enter)


@pytest.mark.parametrize(
    "typed, line",
    [
        ("condense digits --overwrite", "condense digits --resume --out runs/a"),
        ("condense digits --out=b", "condense digits --out=b --resume"),
        ("compare digits --out b", "compare digits --out b"),
    ],
)
def test_what_to_type_after_an_interruption(typed, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["attar", *typed.split()])
    with pytest.raises(SystemExit, match="130"), say_how_to_resume(Path("runs/a")):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith(f"go on with:\n  attar {line}\n")


@pytest.mark.parametrize(
    "data, name", [("digits", "digits"), ("npz:where/mine.npz", "mine"), ("npy:where/mine", "mine")]
)
def test_the_folder_of_a_run_is_named_after_the_data(data, name):
    assert shorten_data(data) == name


def test_a_folder_without_a_name_of_its_own_gives_one_all_the_same(here):
    assert shorten_data("npy:.") == here.name and shorten_data("npy:/") == "data"


def test_what_a_file_manager_leaves_is_nobodys(here, monkeypatch):
    (here / "out").mkdir()
    (here / "out" / ".DS_Store").touch()
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "out") == 0


def test_a_taken_name_is_numbered_and_the_latest_is_resumed(here):
    for name in ("a", "a-2", "a-3"):
        assert choose_folder("a", resume=False) == Path("runs") / name
        (here / "runs" / name).mkdir(parents=True)
        assert choose_folder("a", resume=True) == Path("runs") / name


def test_sets_are_found_in_runs_and_in_comparisons(here):
    for name in ("run", "all/b", "all/a"):
        (here / name).mkdir(parents=True)
        (here / name / "recipe.json").touch()
    assert find_sets([Path("run"), Path("all")]) == [Path("run"), Path("all/a"), Path("all/b")]
    with pytest.raises(ValueError, match=r"runs holds no condensed set \(no recipe.json\)"):
        find_sets([Path("run"), Path("runs")])
