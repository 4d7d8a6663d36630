"""A report is written over nothing but a report."""

import os
from pathlib import Path

import pytest
from conftest import toy

import attar
from attar.report.place import MARKER

SETS = [attar.CondensedSet.whole(toy())]


def refuse(path, told):
    with pytest.raises(ValueError, match=told) as error:
        attar.write_report(path, [], [])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"my words", b"", b"<html><title>Attar report</title>", bytes(range(256)) * 999])
def test_a_file_of_the_users_is_left_as_it_is(content, tmp_path):
    (tmp_path / "mine.html").write_bytes(content)
    refuse(tmp_path / "mine.html", "was not written by attar, and is not replaced: name a new file")
    assert (tmp_path / "mine.html").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


def test_folders_links_devices_and_pipes_are_refused(tmp_path):
    refuse(tmp_path, "is a folder: name a file")
    report = attar.write_report(tmp_path / "deep" / "new" / "report.html", [], [])
    for name, target in (("link", report), ("dangling", tmp_path / "nowhere")):
        (tmp_path / name).symlink_to(target)
        refuse(tmp_path / name, "is a link")
        assert (tmp_path / name).is_symlink() and not (tmp_path / "nowhere").exists()
    with pytest.raises(ValueError, match=r"report\.html is a file, not a folder"):
        attar.write_report(report / "report.html", [], [])
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refuse(tmp_path / "pipe", "was not written by attar")  # at once: nobody waits for a writer
    if Path("/dev/null").exists():
        refuse(Path("/dev/null"), "was not written by attar")


def test_a_report_is_replaced_whoever_wrote_it(tmp_path):
    path = attar.write_report(str(tmp_path / "report.html"), [], [])
    assert MARKER in path.read_text(encoding="utf-8")
    attar.write_report(path, SETS, [])
    assert "whole set" in path.read_text(encoding="utf-8")


def test_what_cannot_be_written_is_told_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("attar.report.page.collect", None)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=r"nothing can be written to .*, which is read-only"):
        attar.write_report(tmp_path / "new" / "report.html", [], [])
    monkeypatch.undo()

    def fail(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("attar.report.place.write_text", fail)
    with pytest.raises(OSError, match=r"cannot be written to .*report\.html: Read-only file system"):
        attar.write_report(tmp_path / "report.html", [], [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((3, [], []), "path must be a path, not 3"),
        (("r.html", 3, []), "made must be a list of these, not 3"),
        (("r.html", [], [3]), "rows must be a Row, not 3"),
        (("r.html", [], [], 3), "task must be a Task, not 3"),
        (("r.html", [], [], None, 3), "losses must be a Mapping, not 3"),
    ],
)
def test_arguments_are_read_before_any_work(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=told):
        attar.write_report(*arguments)
    assert not list(tmp_path.iterdir())
