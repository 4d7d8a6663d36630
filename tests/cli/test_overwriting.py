"""Nothing is overwritten unasked, and what is refused leaves everything as it was."""

import pytest
from typed import FAST, attar_command, contents, enter, interrupted, refused, shorten_quick

import attar
from attar.runs.run_folder import lock_folder

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


def test_a_folder_of_ones_own_is_left_alone(here, monkeypatch, capsys):
    (here / "mine" / "images").mkdir(parents=True)
    (here / "mine" / "README.md").write_text("my words")
    words = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "mine"]
    for more in ([], ["--overwrite"]):
        assert "mine holds files that are no run's" in refused(monkeypatch, capsys, *words, *more)
    assert (here / "mine" / "README.md").read_text() == "my words"


def test_nothing_is_overwritten_unasked(here, monkeypatch, capsys):
    words = ["condense", "digits", "--method", "random", "--ipc", "1"]
    assert attar_command(monkeypatch, *words, "--out", "a") == 0
    capsys.readouterr()
    assert "already holds a result: --overwrite" in refused(monkeypatch, capsys, *words, "--out", "a")
    assert attar_command(monkeypatch, *words, "--out", "a", "--resume") == 0
    assert attar_command(monkeypatch, *words, "--seed", "1", "--out", "a", "--overwrite") == 0
    assert attar.load("a").provenance["seed"] == 1
    capsys.readouterr()
    assert "holds a run with seed = 1, not 0" in refused(monkeypatch, capsys, *words, "--out", "a", "--resume")
    for name in ("digits-random-ipc1-seed0", "digits-random-ipc1-seed0-2"):
        assert attar_command(monkeypatch, *words) == 0
        assert attar.load(here / "runs" / name).ipc == 1


def test_two_processes_do_not_share_a_folder(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    left = contents(here / "a")
    with lock_folder(here / "a"):
        for more in ("--resume", "--overwrite"):
            assert "another process is at work in a" in refused(monkeypatch, capsys, *words, more)
    assert contents(here / "a") == left
    assert attar_command(monkeypatch, *words, "--resume") == 0


def test_what_is_refused_costs_nothing(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "1", *FAST, "--out", "a") == 0
    assert attar_command(monkeypatch, "evaluate", "a", "--protocol", "quick", "--seeds", "1") == 0
    left = contents(here / "a")
    capsys.readouterr()
    for words, told in (
        (["--ipc", "1000"], "fewer than the 1000"),
        (["--ipc", "1", "--set", "augment=bogus"], "bogus"),
    ):
        assert told in refused(monkeypatch, capsys, "condense", "digits", *FAST, *words, "--out", "a", "--overwrite")
        assert contents(here / "a") == left
        assert told in refused(monkeypatch, capsys, "condense", "digits", *FAST, *words, "--out", "b")
        assert not (here / "b").exists()
