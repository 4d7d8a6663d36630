"""A set in a folder: its exact tensors, nobody else's files, and every damage by name."""

import contextlib
import dataclasses
import json
import os
from hashlib import sha256

import pytest
import torch
from conftest import toy
from safetensors.torch import load_file, save_file

import attar
from attar.condensed.store import MANIFEST, TENSORS, check_folder, claim, load, save
from attar.engine.run import Run
from attar.files import read_tensors, write_tensors
from attar.rng import Rng
from attar.synthesis.pixels import Pixels


@pytest.fixture
def made():
    return Pixels.start(toy(3), 2, Run(Rng.of(0)), init="mix", factor=2, space="unit").export()


def test_what_is_saved_is_loaded_again(made, tmp_path):
    about = {"method": "m3d", "hyperparameters": {"lr": 0.5}}
    kept = dataclasses.replace(made, soft=torch.full((24, 3), 1 / 3), provenance=about)
    assert (attar.save, attar.load) == (save, load)
    read = load(save(kept, tmp_path / "run"))
    for name in ("images", "labels", "soft"):
        assert torch.equal(getattr(read, name), getattr(kept, name))
    for name in ("classes", "normalisation", "factor", "space", "provenance"):
        assert getattr(read, name) == getattr(kept, name)


def test_stored_tensors_are_the_exact_ones(made, tmp_path):
    save(made, tmp_path / "run")
    assert torch.equal(load_file(tmp_path / "run" / TENSORS)["images"], made.images)


def test_saving_leaves_other_files_alone(made, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "README.md").write_text("my words")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds files that are no run's: name a new folder"):
            save(made, tmp_path, overwrite=overwrite)
    assert (tmp_path / "README.md").read_text() == "my words"
    save(made, tmp_path / "run")
    with pytest.raises(ValueError, match="already holds a condensed set"):
        save(made, tmp_path / "run")
    save(made, tmp_path / "run", overwrite=True)


def test_refusals(made, tmp_path):
    with pytest.raises(ValueError, match="holds no condensed set"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="unfinished run: resume it"):
        load(tmp_path)

    folder = save(made, tmp_path / "bits")
    data = bytearray((folder / TENSORS).read_bytes())
    data[-5] ^= 1
    (folder / TENSORS).write_bytes(data)
    with pytest.raises(ValueError, match=r"condensed.safetensors is damaged, or another set's: its checksum"):
        load(folder)

    (folder / TENSORS).write_bytes(data[:100])
    with pytest.raises(ValueError, match=r"condensed.safetensors is damaged"):
        load(folder)

    (folder / TENSORS).unlink()
    with pytest.raises(ValueError, match=r"no such file: .*condensed.safetensors"):
        load(folder)

    folder = save(made, tmp_path / "foreign")
    save_file({"images": torch.zeros(1)}, folder / TENSORS)
    with pytest.raises(ValueError, match="or another set's"):
        load(folder)
    with pytest.raises(ValueError, match="was not written by attar"):
        read_tensors(folder / TENSORS)

    folder = save(made, tmp_path / "version")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99; this attar reads format 1"):
        load(folder)
    (folder / MANIFEST).write_text("[1, 2]")
    with pytest.raises(ValueError, match="was not written by attar"):
        load(folder)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="damaged: not JSON"):
        load(folder)


def test_the_manifest_has_the_hash_of_every_file(made, tmp_path):
    folder = save(made, tmp_path / "run")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    expected = {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}
    assert manifest["files"] == expected and len(expected) == 3 + 24 and manifest["sha256"] == expected[TENSORS]
    assert set(check_folder(folder).values()) == {"whole"}


def test_every_damaged_or_missing_file_is_found(made, tmp_path):
    folder = save(made, tmp_path / "run")
    for name in check_folder(folder):
        path = folder / name
        content = path.read_bytes()
        at = content.index(b"bytes") if name == MANIFEST else len(content) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert {key: state for key, state in check_folder(folder).items() if state != "whole"}[name] == "damaged"
        path.unlink()
        if name != MANIFEST:
            assert {key for key, state in check_folder(folder).items() if state == "missing"} == {name}
        path.write_bytes(content)


def test_a_folder_written_before_there_were_hashes_loads(made, tmp_path, caplog):
    folder = save(made, tmp_path / "run")
    tensors, header = load_file(folder / TENSORS), {"attar": json.dumps(read_tensors(folder / TENSORS)[1])}
    save_file(tensors, folder / TENSORS, header)
    digest = sha256((folder / TENSORS).read_bytes()).hexdigest()
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | {"sha256": digest}
    (folder / MANIFEST).write_text(json.dumps({k: v for k, v in manifest.items() if k not in ("files", "checksum")}))
    assert torch.equal(load(folder).images, made.images) and load(folder).provenance == made.provenance
    assert not caplog.text
    states = check_folder(folder)
    assert states.pop(TENSORS) == "whole" and set(states.values()) == {"without a hash"}


def test_a_changed_manifest_is_said(made, tmp_path, caplog):
    folder = save(dataclasses.replace(made, provenance={"seed": 0}), tmp_path / "run")
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text.replace('"seed": 0', '"seed": 5'), encoding="utf-8")
    assert load(folder).provenance == {"seed": 5}
    assert "recipe.json was changed after it was written" in caplog.text


def test_the_beginning_of_a_run_is_checked(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / ".lock").touch()
    write_tensors(tmp_path / "checkpoint.safetensors", {"x": torch.ones(3)}, {})
    unknown = {"run.json": "without a hash", "metrics.jsonl": "without a hash"}
    assert check_folder(tmp_path) == {"checkpoint.safetensors": "whole"} | unknown
    (tmp_path / "run.json").write_text("{")
    assert check_folder(str(tmp_path))["run.json"] == "damaged"
    with pytest.raises(ValueError, match="holds no condensed set and no run"):
        check_folder(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("left", "free"), [(".rows.json.lock", True), (".rows.json.12.part", True), (".git", False), ("photo.png", False)]
)
def test_locks_left_behind_do_not_claim_a_folder(left, free, tmp_path):
    (tmp_path / left).touch()
    with contextlib.nullcontext() if free else pytest.raises(ValueError, match="holds files that are no run's"):
        claim(tmp_path)


def test_a_file_is_no_folder(made, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="run is a file, not a folder"):
        save(made, tmp_path / "run")


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", ["{}", '{"format": "toml"}', "[1]", "5", "null", "", "{", "servings: 4", "\xff"])
@pytest.mark.parametrize("name", ["recipe.json", "run.json"])
def test_another_programs_file_of_a_name_of_ours_is_refused_and_nothing_is_touched(content, name, made, tmp_path):
    folder = tmp_path / "run"
    for beside in (False, True):  # alone in a folder, or in one with a set of ours
        if beside:
            save(made, tmp_path / "run2").rename(folder := tmp_path / "set")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode("latin-1"))
        before = snapshot(tmp_path)
        for refused in (
            lambda folder=folder: save(made, folder, overwrite=True),
            lambda folder=folder: attar.condense(toy(), "random", 1, out=folder, overwrite=True),
            lambda folder=folder: attar.condense(toy(), "random", 1, out=folder, resume=True),
        ):
            with pytest.raises(ValueError, match=f"{name} (was not written by attar|is damaged).*name another folder"):
                refused()
        assert snapshot(tmp_path) == before


def test_a_folder_with_sets_of_other_programs_in_it_is_no_comparison(tmp_path):
    (tmp_path / "cake").mkdir()
    (tmp_path / "cake" / "recipe.json").write_text('{"flour": 500}')
    with pytest.raises(ValueError, match="holds files that are no run's"):
        claim(tmp_path, ("*/recipe.json",))
    attar.condense(toy(), "random", 1, out=tmp_path / "random")
    claim(tmp_path, ("*/recipe.json",))


def test_nothing_is_replaced_behind_a_link(made, tmp_path):
    folder, link = save(made, tmp_path / "theirs"), tmp_path / "link"
    link.symlink_to(folder)
    before = snapshot(folder)
    for refused in (
        lambda: save(made, link, overwrite=True),
        lambda: attar.condense(toy(), "random", 1, out=link, overwrite=True),
    ):
        with pytest.raises(
            ValueError, match=r"link is a link, and nothing is replaced behind it: name .*theirs itself"
        ):
            refused()
    assert snapshot(folder) == before
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").symlink_to(tmp_path / "empty")  # where nothing lies yet, nothing is replaced
    assert load(save(made, tmp_path / "new")).ipc == made.ipc


def test_what_a_folder_from_elsewhere_says_is_under_way_harms_nothing_beside_it(made, tmp_path):
    folder, theirs = save(made, tmp_path / "downloaded"), tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "photo.png").write_text("my photo")
    (folder / ".ready.part").mkdir()
    (folder / ".ready.part" / ".replaced.part").write_text('["../theirs", "../theirs/photo.png"]')
    with pytest.raises(ValueError, match="no entry of its folder"):
        load(folder)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / ".moving.part").symlink_to(theirs)
    with pytest.raises(ValueError, match="holds no condensed set"):
        load(tmp_path / "links")
    assert [path.read_text() for path in theirs.iterdir()] == ["my photo"]


@pytest.mark.parametrize("name", ["..", ".", "", "/", "../theirs", 5, None, "a\0b"])
def test_what_is_no_entry_of_a_folder_is_never_removed(name, made, tmp_path):
    folder, theirs = save(made, tmp_path / "downloaded"), tmp_path / "theirs"
    theirs.write_text("my photo")
    (folder / ".ready.part").mkdir()
    (folder / ".ready.part" / ".replaced.part").write_text(json.dumps([name]))
    with pytest.raises(ValueError, match=r"\.replaced\.part was not written by attar"):
        load(folder)
    assert theirs.read_text() == "my photo" and (folder / "recipe.json").exists()


@pytest.mark.parametrize("folder", ["file", "file/run", "file/a/b", "read-only", "read-only/run", "read-only/a/b"])
def test_what_cannot_be_written_is_noticed_before_the_work(folder, made, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "read-only").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "read-only" not in str(path) and access(path, mode))

    def never(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr("attar.runs.condense.load_data", never)
    monkeypatch.setattr("attar.runs.compare.load_data", never)
    monkeypatch.setattr("attar.condensed.store.write_tensors", never)
    told = "file is a file, not a folder" if "file" in folder else "nothing can be written to .*, which is read-only"
    for work in (
        lambda: save(made, tmp_path / folder),
        lambda: attar.condense(toy(), "random", 1, out=tmp_path / folder),
        lambda: attar.compare(toy(), ["random"], [1], out=tmp_path / folder),
    ):
        with pytest.raises(ValueError, match=told):
            work()


def test_a_manifest_from_elsewhere_names_no_file_outside_its_folder(made, tmp_path):
    (tmp_path / "theirs").write_text("their words")
    folder = save(made, tmp_path / "run")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"] |= {"../theirs": "0", str(tmp_path / "theirs"): "0", "a/../../theirs": "0", "gone": "0"}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert [name for name, state in check_folder(folder).items() if state == "missing"] == ["gone"]
    assert not any("theirs" in name for name in check_folder(folder))
