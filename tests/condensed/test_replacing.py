"""Replacing a set leaves the old one or the new one, wherever it fails."""

import shutil
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from faults import FAULTS, RAISED, count_steps, failing
from PIL import Image
from small_sets import condensed

import attar
from attar.condensed.store import check_folder, load, save
from attar.replacing import MOVING, READY


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def quick(monkeypatch):
    """No drawing, and no waiting for a disk."""
    monkeypatch.setattr("attar.condensed.pictures.draw_contact_sheet", lambda made: Image.new("L", (1, 1)))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("earlier", [True, False], ids=["overwrite", "first"])
def test_a_save_that_fails_anywhere_leaves_the_old_set_or_the_new(fault, earlier, tmp_path, quick):
    old, new = condensed(ipc=2, side=4), condensed(ipc=1, side=4)
    steps = count_steps(lambda: save(new, save(old, tmp_path / "count"), overwrite=True))
    save(old, tmp_path / "left")
    (tmp_path / "left" / "rows.json").write_text("[]")  # what belongs to the run stays
    (tmp_path / "left" / "notes.txt").write_text("my words")
    ended = set()
    for at in range(steps):
        folder = tmp_path / str(at)
        if earlier:
            shutil.copytree(tmp_path / "left", folder)
        with suppress(*RAISED), failing(at, FAULTS[fault](at)):
            save(new, folder, overwrite=True)
        try:
            found = load(folder)
        except ValueError as error:  # nothing was there, and nothing came of it
            assert not earlier and "holds no condensed set" in str(error)
            ended.add("none")
        else:
            is_new = torch.equal(found.images, new.images)
            assert is_new or (earlier and torch.equal(found.images, old.images))
            ended.add("new" if is_new else "old")
            states = check_folder(folder)
            assert {state for name, state in states.items() if "/" in name or "c" in name} <= {
                "whole",
                "without a hash",
            }
        save(new, folder, overwrite=True)
        expected = contents(tmp_path / "count") | ({"rows.json", "notes.txt"} if earlier else set())
        assert contents(folder) == expected and torch.equal(load(folder).images, new.images)
    assert ended == {"old" if earlier else "none", "new"}


@pytest.mark.parametrize(
    "moment", ["attar.files.save_file", "attar.replacing.settle", "attar.replacing.remove", "os.rename"]
)
def test_a_killed_save_leaves_the_old_set_or_the_new(moment, tmp_path):
    """A real `kill -9`, as the second set is written or put in its place."""
    folder = save(condensed(ipc=2, side=4), tmp_path / "run")
    module = moment.rpartition(".")[0]
    code = (
        f"import os, signal, sys, {module}; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r})\n"
        f"from small_sets import condensed; from attar.condensed.store import save\n"
        f"{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"save(condensed(ipc=1, side=4), {str(folder)!r}, overwrite=True)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert attar.load(folder).ipc in (1, 2)
    attar.save(condensed(ipc=3, side=4), folder, overwrite=True)
    assert attar.load(folder).ipc == 3 and set(check_folder(folder).values()) == {"whole"}
    assert not any(path.name in (READY, MOVING) or path.suffix == ".part" for path in folder.iterdir())


def test_a_link_in_a_folder_is_replaced_and_not_followed(tmp_path):
    folder = save(condensed(side=4), tmp_path / "run")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "photo.png").write_text("my photo")
    for name in ("images", "README.md"):
        attar.files.remove(folder / name)
        (folder / name).symlink_to(theirs if name == "images" else theirs / "photo.png")
    save(condensed(side=4), folder, overwrite=True)
    assert [path.read_text() for path in theirs.iterdir()] == ["my photo"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))
