"""`attar check` says file by file what is whole."""

import pytest
from typed import attar_command, enter, refused

here = pytest.fixture(enter)


def test_what_is_damaged_is_named_and_the_exit_code_is_two(here, monkeypatch, capsys):
    words = ["condense", "digits", "--method", "random", "--ipc", "1"]
    for name in ("all/a", "all/b"):
        assert attar_command(monkeypatch, *words, "--out", name) == 0
    capsys.readouterr()
    for folder, files in (("all/a", 16), ("all", 32)):
        assert attar_command(monkeypatch, "check", folder) == 0
        said = capsys.readouterr().out.splitlines()
        assert "whole          all/a/images/0/0000.png" in said and "without a hash all/a/run.json" in said
        assert len(said) == files
    (here / "all/a/contact.png").unlink()
    (here / "all/b/README.md").write_text("other words")
    for folder, told in (("all/a", "1 file"), ("all/b", "1 file"), ("all", "2 files")):
        assert attar_command(monkeypatch, "check", folder) == 2
        out, err = capsys.readouterr()
        assert err == f"attar: damaged or missing in {folder}: {told}\n"
        assert ("missing        all/a/contact.png" in out) == (folder != "all/b")
        assert ("damaged        all/b/README.md" in out) == (folder != "all/a")
    assert "nowhere holds no condensed set and no run" in refused(monkeypatch, capsys, "check", "nowhere")
