import contextlib
import json

import pytest
import torch
from conftest import toy
from safetensors.torch import load_file, save_file

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, TENSORS, claim
from attar.engine.run import Run
from attar.files import read_tensors, sweep, write_tensors
from attar.rng import Rng
from attar.synthesis.pixels import Pixels


@pytest.fixture
def made():
    return Pixels.start(toy(3), 2, Run(Rng.of(0)), init="mix", factor=2, space="unit").export()


def test_eight_bit_images_lose_half_a_level_at_most(made):
    exact, rounded = made.as_dataset().tensors[0], made.as_dataset(eight_bit=True).tensors[0]
    std = torch.tensor(made.std)[:, None, None]
    assert ((exact - rounded) * std).abs().max() <= 0.5 / 255 + 1e-6
    assert made.pictures().dtype == torch.uint8


def test_bytes(made):
    assert made.bytes == {"stored": 6 * 3 * 64 * 4 + 6 * 8, "eight_bit": 24 * 3 * 64, "soft": 0}
    assert made.ipc == 2


def test_stored_tensors_are_the_exact_ones(made, tmp_path):
    made.save(tmp_path / "run")
    assert torch.equal(load_file(tmp_path / "run" / TENSORS)["images"], made.images)


def test_saving_leaves_other_files_alone(made, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "README.md").write_text("my words")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds files that are no run's: name a new folder"):
            made.save(tmp_path, overwrite=overwrite)
    assert (tmp_path / "README.md").read_text() == "my words"
    made.save(tmp_path / "run")
    with pytest.raises(ValueError, match="already holds a condensed set"):
        made.save(tmp_path / "run")
    made.save(tmp_path / "run", overwrite=True)


def test_concat_refuses_what_does_not_fit(made):
    other = Pixels.start(toy(3), 2, Run(Rng.of(0)), space="normalised").export()
    with pytest.raises(ValueError, match="the sets differ in factor: 2 and 1"):
        CondensedSet.concat([made, other])


def test_refusals(made, tmp_path):
    with pytest.raises(ValueError, match="holds no condensed set"):
        attar.load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="unfinished run: resume it"):
        attar.load(tmp_path)

    folder = made.save(tmp_path / "bits")
    data = bytearray((folder / TENSORS).read_bytes())
    data[-5] ^= 1
    (folder / TENSORS).write_bytes(data)
    with pytest.raises(ValueError, match=r"condensed.safetensors is damaged, or another set's: its checksum"):
        attar.load(folder)

    (folder / TENSORS).write_bytes(data[:100])
    with pytest.raises(ValueError, match=r"condensed.safetensors is damaged"):
        attar.load(folder)

    (folder / TENSORS).unlink()
    with pytest.raises(ValueError, match=r"no such file: .*condensed.safetensors"):
        attar.load(folder)

    folder = made.save(tmp_path / "foreign")
    save_file({"images": torch.zeros(1)}, folder / TENSORS)
    with pytest.raises(ValueError, match="or another set's"):
        attar.load(folder)
    with pytest.raises(ValueError, match="was not written by attar"):
        read_tensors(folder / TENSORS)

    folder = made.save(tmp_path / "version")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99; this attar reads format 1"):
        attar.load(folder)
    (folder / MANIFEST).write_text("[1, 2]")
    with pytest.raises(ValueError, match="was not written by attar"):
        attar.load(folder)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="damaged: not JSON"):
        attar.load(folder)


def test_damaged_tensors_are_named(tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, {"images": torch.rand(2, 1, 4, 4)}, {"factor": 1})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    truncated = [whole[:n] for n in (0, 5, 8, header // 2, header, len(whole) - 1)]
    garbage = [
        b"nonsense",
        b"nonsense" * 50,
        whole[:8] + b"x" * (len(whole) - 8),
        whole.replace(b"F32", b"F33"),
        whole.replace(b": 1}", b": ?}"),
    ]
    for damaged in truncated + garbage:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"some.safetensors is damaged"):
            read_tensors(path)


def test_leftovers_of_killed_writes_are_swept_and_nothing_else(tmp_path):
    ours = {"run.json", ".hidden.part", ".part", "images.1.part"}
    for name in (*ours, ".checkpoint.safetensors.123.part", ".run.json.7.part"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == ours


def test_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    from attar import files

    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert files.read_json(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]


def test_selected_images_are_real_and_named():
    task = toy()
    indices = task.indices((0, 1, 2), 2, Rng.of(0))
    made = CondensedSet.selected(task, indices)
    assert made.provenance["indices"] == indices.flatten().tolist()
    torch.testing.assert_close(made.as_dataset().tensors[0], task.images(indices).flatten(0, 1))
    assert torch.equal(made.pictures(), task.train.x[indices.flatten()])


@pytest.mark.parametrize(
    ("left", "free"), [(".rows.json.lock", True), (".rows.json.12.part", True), (".git", False), ("photo.png", False)]
)
def test_locks_left_behind_do_not_claim_a_folder(left, free, tmp_path):
    (tmp_path / left).touch()
    with contextlib.nullcontext() if free else pytest.raises(ValueError, match="holds files that are no run's"):
        claim(tmp_path)
