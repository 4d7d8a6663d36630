"""Folders of data that processes share: gone after the work, or when others begin."""

import os
import shutil
import tempfile
from contextlib import contextmanager

import pytest
from filelock import FileLock

from attar.engine.staging import LOCK, PREFIX, staging_folder, sweep_staged


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def grow_old(folder):
    """As if nothing had been put into it for long."""
    os.utime(folder, (0, 0))


def test_a_folder_goes_with_its_work_however_that_ends(own_folder):
    with staging_folder() as folder:
        (folder / "test.safetensors").touch()
    with pytest.raises(KeyboardInterrupt), staging_folder():
        raise KeyboardInterrupt
    assert not list(own_folder.iterdir())


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(own_folder):
    left, used, foreign = own_folder / f"{PREFIX}left", own_folder / f"{PREFIX}used", own_folder / f"{PREFIX}foreign"
    for folder in (left, used, foreign):
        folder.mkdir()
        (folder / "0.safetensors").touch()
    (left / LOCK).touch()
    grow_old(left)
    with FileLock(used / LOCK):
        grow_old(used)
        with staging_folder() as own:
            assert set(own_folder.iterdir()) == {used, foreign, own}


def test_a_folder_that_its_maker_has_not_locked_yet_is_left(own_folder):
    (own_folder / f"{PREFIX}new").mkdir()
    (own_folder / f"{PREFIX}new" / LOCK).touch()
    sweep_staged()
    assert (own_folder / f"{PREFIX}new" / LOCK).exists()


def test_where_no_open_file_is_deleted_a_lock_goes_once_it_is_closed(own_folder, monkeypatch):
    """As on Windows."""
    (own_folder / f"{PREFIX}left").mkdir()
    (own_folder / f"{PREFIX}left" / LOCK).touch()
    grow_old(own_folder / f"{PREFIX}left")
    held, remove = [], shutil.rmtree

    @contextmanager
    def hold(*_, **__):
        held.append(True)
        yield
        held.clear()

    monkeypatch.setattr("attar.engine.staging.hold_lock", hold)
    monkeypatch.setattr(shutil, "rmtree", lambda folder, **options: held or remove(folder, **options))
    sweep_staged()
    assert not list(own_folder.iterdir())


def test_a_link_is_not_followed(own_folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / LOCK).touch()
    grow_old(elsewhere)
    (own_folder / f"{PREFIX}link").symlink_to(elsewhere)
    sweep_staged()
    assert (elsewhere / LOCK).exists()
