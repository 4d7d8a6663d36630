"""Whether mirrored images keep their class: said, not guessed, and an option everywhere."""

import dataclasses
import json

import numpy as np
import pytest

import attar
from attar.condensed.card import make_card
from attar.condensed.store import MANIFEST, REQUEST
from attar.data.load import load_data


def arrows(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that are each other's mirror images."""
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    x = rng.integers(0, 40, (n, 8, 8, 3), np.uint8)
    x[y == 0, 2:6, :3] += 200
    x[y == 1, 2:6, 5:] += 200
    return x, y


def test_own_data_is_not_mirrored_unasked():
    assert not load_data(arrows()).flip and load_data(arrows(), flip=True).flip
    assert not load_data("digits").flip and load_data("digits", flip=True).flip
    assert not load_data(load_data(arrows(), flip=True), flip=False).flip


def test_classes_that_are_mirror_images_are_learned():
    made = attar.condense(arrows(200), "random", 5)
    protocol = dataclasses.replace(attar.Protocol("short", "", 40, 256, "half"), augment=attar.Augment("flip"))
    plain, mirrored = (
        [row.accuracy for row in attar.evaluate(made, arrows(200), protocol=protocol, seeds=1, flip=flip)]
        for flip in (None, True)
    )
    assert plain[0] > 95 > mirrored[0]


def test_it_is_said_in_plan_card_and_rows(tmp_path):
    assert "are not mirrored" in str(attar.plan(arrows(), "random", 1))
    assert "may be mirrored" in str(attar.plan(arrows(), "random", 1, flip=True))
    made = attar.condense(arrows(), "random", 1, flip=True, out=tmp_path / "run")
    assert "| Mirrored images | keep their class |" in make_card(made)
    (row,) = attar.evaluate(made, arrows(), protocol="quick", seeds=1, flip=True)
    assert row.flip and json.loads((tmp_path / "run" / MANIFEST).read_text())["flip"]


class Stop(Exception):
    pass


def stop(done: int, total: int, loss: float) -> None:
    if done == 4:
        raise Stop


@pytest.mark.parametrize("older", [False, True])
def test_a_run_resumes_with_the_flip_it_began_with(tmp_path, older):
    """Older versions mirrored colour images of own data and did not write it down."""
    options = {"method": "dm", "ipc": 1, "updates": 8, "batch_real": 8}
    whole = attar.condense(arrows(), **options, flip=older)
    folder = tmp_path / "run"
    with pytest.raises(Stop):
        attar.condense(arrows(), **options, flip=older, out=folder, progress=stop)
    if older:
        request = json.loads((folder / REQUEST).read_text())
        del request["flip"]
        (folder / REQUEST).write_text(json.dumps(request))
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)  # it belongs to what the request says
        with pytest.raises(ValueError, match="holds a run with flip = True, not False"):
            attar.condense(arrows(), **options, out=folder, resume=True, flip=False)
    resumed = attar.condense(arrows(), **options, out=folder, resume=True)
    assert resumed.images.equal(whole.images)


def test_a_run_does_not_go_on_with_another_flip(tmp_path):
    with pytest.raises(Stop):
        attar.condense(arrows(), "dm", 1, updates=8, batch_real=8, out=tmp_path / "run", progress=stop)
    with pytest.raises(ValueError, match="holds a run with flip = False, not True"):
        attar.condense(arrows(), "dm", 1, updates=8, batch_real=8, out=tmp_path / "run", resume=True, flip=True)
