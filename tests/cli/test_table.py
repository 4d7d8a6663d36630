"""What an evaluation prints, and what its reader should know."""

import dataclasses

import pytest

import attar
from attar.cli.table import print_gains, print_rows
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=2)


@pytest.fixture
def judged(task):
    made = attar.condense(task, "random", 1)
    return made, attar.evaluate(made, task, protocol=QUICK, seeds=2)


def test_the_table_says_what_its_numbers_rest_on(judged, capsys):
    _, rows = judged
    print_rows(rows, ("a", "b", "c"))
    told = capsys.readouterr().out
    assert "seeds 0, 1; trained in " in told and "; tested after the last epoch, on: test set" in told
    assert "accuracy by class" in told and "random, 1 per class" in told
    print_rows(rows, [f"class {i}" for i in range(21)])
    assert "accuracy by class" not in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_printed_as_text(judged, terminal, monkeypatch, capsys):
    """Brackets are no markup, colons no pictures, and control sequences do nothing."""
    rows = [dataclasses.replace(row, data="[/red]", split="\x1b[2J") for row in judged[1]]
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "160")
    print_rows(rows, ("[/bold]", ":cat: \x1b]0;title\x07", "a\u202eb\\"))
    told = capsys.readouterr().out
    for words in ("[/red]", "[/bold]", r":cat: \x1b]0;title\x07", r"\u202e", r"on: \x1b[2J"):
        assert words in told, words
    assert not any(lost in told for lost in ("\x1b]", "\x07", "\u202e", "\x1b[2J"))


def test_classes_without_test_images_and_data_of_one_name_are_told(judged, capsys):
    rows = [dataclasses.replace(row, per_class=(50.0, None, 1.0)) for row in judged[1]]
    print_rows([*rows, dataclasses.replace(rows[0], fingerprint="f" * 32)], ("a", "b", "c"))
    told = capsys.readouterr().out
    assert "–" in told and "toy #ffffff" in told and "other images under the same name" in " ".join(told.split())


def test_what_was_gained_is_said_for_each_budget(judged, capsys):
    def rows(method, ipc, *accuracies):
        own = enumerate(accuracies)
        return [dataclasses.replace(judged[1][0], method=method, ipc=ipc, seed=i, accuracy=x) for i, x in own]

    print_gains([*rows("m3d", 1, 70.0, 71.0), *rows("random", 1, 50.0, 51.0), *rows("whole set", 144, 97.0)])
    told = "1 image a class: 70.5 % by m3d, 50.5 % by random selection, +20.0 points; the whole set: 97.0 %\n"
    assert capsys.readouterr().out == told
