"""A run that is to replace another leaves that one, until it is whole."""

from contextlib import suppress

import pytest
import torch
from conftest import toy
from faults import FAULTS, RAISED, count_steps, failing
from PIL import Image

import attar
from attar.condensed.store import check_folder
from attar.runs.run_folder import NEXT

M3D = {"method": "m3d", "ipc": 1, "updates": 4, "ipm": 2, "batch_real": 8}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No drawing, and no waiting for a disk."""
    monkeypatch.setattr("attar.condensed.pictures.draw_contact_sheet", lambda made: Image.new("L", (1, 1)))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_fails_anywhere_leaves_the_old_result_or_the_new(fault, tmp_path):
    task = toy()
    random = {"method": "random", "ipc": 1}
    old, new = (attar.condense(task, seed=seed, **random) for seed in (0, 1))

    def replace(folder, **options):
        return attar.condense(task, seed=1, out=folder, overwrite=True, **random, **options)

    attar.condense(task, seed=0, out=tmp_path / "count", **random)
    ended = set()
    for at in range(count_steps(lambda: replace(tmp_path / "count"))):
        folder = tmp_path / str(at)
        attar.condense(task, seed=0, out=folder, **random)
        with suppress(*RAISED), failing(at, FAULTS[fault](at)):
            replace(folder)
        found = attar.load(folder)
        ended.add(found.provenance["seed"])
        assert torch.equal(found.images, (old, new)[found.provenance["seed"]].images)
        assert set(check_folder(folder).values()) <= {"whole", "without a hash"}
        assert torch.equal(replace(folder).images, new.images)
        assert not any(path.name.endswith(".part") for path in folder.rglob("*"))
    assert ended == {0, 1}


def stop(done, total, loss):
    if done == 3:
        raise KeyboardInterrupt


@pytest.mark.parametrize("seed", [0, 1], ids=["the same again", "another"])
def test_an_interrupted_replacement_goes_on_and_the_old_result_stays_until_then(seed, tmp_path):
    task, folder = toy(), tmp_path / "run"
    old, new = attar.condense(task, out=folder, seed=0, **M3D), attar.condense(task, seed=seed, **M3D)
    (folder / "rows.json").write_text("[]")
    (folder / "notes.txt").write_text("my words")
    with pytest.raises(KeyboardInterrupt):
        attar.condense(task, out=folder, seed=seed, overwrite=True, progress=stop, **M3D)
    assert torch.equal(attar.load(folder).images, old.images) and (folder / "rows.json").exists()
    seen = []
    options = {"resume": True, "progress": lambda *update: seen.append(update)}
    assert torch.equal(attar.condense(task, out=folder, seed=seed, **options, **M3D).images, new.images)
    assert len(seen) < 4 and torch.equal(attar.load(folder).images, new.images)
    assert not (folder / "rows.json").exists() and not (folder / NEXT).exists()  # those rows were the old set's
    assert (folder / "notes.txt").read_text() == "my words"


def test_the_old_result_is_still_taken_while_another_is_unfinished(tmp_path):
    task, folder = toy(), tmp_path / "run"
    old = attar.condense(task, out=folder, seed=0, **M3D)
    with pytest.raises(KeyboardInterrupt):
        attar.condense(task, out=folder, seed=1, overwrite=True, progress=stop, **M3D)
    assert torch.equal(attar.condense(task, out=folder, seed=0, resume=True, **M3D).images, old.images)
    assert attar.condense(task, out=folder, seed=2, overwrite=True, **M3D).provenance["seed"] == 2
    assert attar.load(folder).provenance["seed"] == 2 and not (folder / NEXT).exists()
