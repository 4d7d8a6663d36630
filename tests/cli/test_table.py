"""What an evaluation prints, and what its reader should know."""

import dataclasses

import pytest
from conftest import toy

import attar
from attar.cli.table import notes, print_rows
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


def test_other_data_than_it_was_made_from_is_noted(task, judged):
    made, rows = judged
    assert list(notes(made, rows, task)) == []
    assert list(notes(made, rows, toy(seed=1))) == ["this set was not made from the training images of this toy"]


def test_an_accuracy_that_the_recipe_does_not_expect_is_noted(task, judged):
    made, rows = judged

    def told(accuracy, protocol="quick"):
        expect = {"protocol": protocol, "accuracy": accuracy, "source": "a table", "published": "99"}
        return list(notes(dataclasses.replace(made, provenance=made.provenance | {"expect": expect}), rows, task))

    (note,) = told([101, 102])
    assert note.endswith("is outside the 101 to 102 that its recipe expects (a table: 99)")
    assert told([0, 100]) == told([101, 102], protocol="idc") == []


@pytest.mark.parametrize(
    "expect", [{"protocol": "quick"}, {"protocol": "quick", "accuracy": "95"}, {"accuracy": [1, 2]}, {}]
)
def test_what_a_file_expects_only_in_part_is_not_noted(task, judged, expect):
    made, rows = judged
    assert list(notes(dataclasses.replace(made, provenance=made.provenance | {"expect": expect}), rows, task)) == []
