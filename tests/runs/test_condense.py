"""`attar.condense`: a request becomes a folder, is resumed to the same bits, and never lost."""

import json
from pathlib import Path

import pytest
import torch
from conftest import toy

import attar
from attar.condensed.store import MANIFEST, REQUEST
from attar.files import read_tensors, write_tensors
from attar.runs.run_folder import check_same
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import METRICS

TINY = {
    "dance": {"updates": 9, "ipm": 3, "models": 1, "epochs": 1, "batch_real": 8},
    "dm": {"updates": 9, "ipm": 3, "batch_real": 8},
    "idm": {"updates": 9, "ipm": 3, "batch_real": 8, "batch_train": 8, "capacity": 3, "interval": 2, "steps": 1},
    "m3d": {"updates": 9, "ipm": 3, "batch_real": 8, "average": 0.5},
    "ncfm": {"updates": 9, "ipm": 3, "batch_real": 8, "models": 1, "epochs": 1, "frequencies": 64},
}
# As an earlier version wrote them: fields that these methods had, at their defaults.
RETIRED = {"networks": 1, "warm": 0, "draw": "class", "features": "network"}
DISCREPANCIES = {"dance": "mean", "dm": "mean", "idm": "mean", "m3d": "gaussian", "ncfm": "characteristic"}


def interrupted(folder: Path, method: str) -> None:
    """A run that is left after its seventh update, as Ctrl-C leaves it."""

    def stop(done, total, loss):
        if total == 9 and done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attar.condense(toy(), method, 2, out=folder, progress=stop, **TINY[method])


def rewrite(folder: Path, **more) -> None:
    """Hyper-parameters that the run's request names too, with a checkpoint that does not say whose it is."""
    request = json.loads((folder / REQUEST).read_text())
    request["hyperparameters"] |= more
    (folder / REQUEST).write_text(json.dumps(request))
    tensors, meta = read_tensors(folder / CHECKPOINT)
    write_tensors(folder / CHECKPOINT, tensors, {key: value for key, value in meta.items() if key != "request"})


@pytest.mark.parametrize("method", TINY)
def test_a_run_of_an_earlier_version_resumes_to_the_same_bits(method, tmp_path):
    """Its retired fields have the values at which nothing changes."""
    whole = attar.condense(toy(), method, 2, **TINY[method])
    interrupted(tmp_path / "run", method)
    rewrite(tmp_path / "run", **RETIRED, discrepancy=DISCREPANCIES[method])
    made = attar.condense(toy(), method, 2, out=tmp_path / "run", resume=True, **TINY[method])
    assert torch.equal(made.images, whole.images) and torch.equal(made.labels, whole.labels)
    assert made.provenance["hyperparameters"] == whole.provenance["hyperparameters"]
    assert torch.equal(attar.load(tmp_path / "run").images, whole.images)
    again = attar.condense(toy(), method, 2, out=tmp_path / "run", resume=True, **TINY[method])
    assert torch.equal(again.images, whole.images)


@pytest.mark.parametrize(
    "method, key, value, told",
    [
        ("m3d", "networks", 3, "an update sees one network"),
        ("m3d", "discrepancy", "energy", "use --method discrepancy"),
        ("dm", "discrepancy", "gaussian", "use --method discrepancy"),
        ("dm", "features", "pixels", "use --method discrepancy"),
        ("m3d", "warm", 5, "networks are unlearned"),
        ("m3d", "draw", "shared", "each class has an augmentation of its own"),
    ],
)
def test_a_run_that_set_a_retired_field_is_refused_by_name(method, key, value, told, tmp_path):
    interrupted(tmp_path / "run", method)
    rewrite(tmp_path / "run", **RETIRED | {"discrepancy": DISCREPANCIES[method], key: value})
    left = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=f"run holds a run with {key} = {value}, which {method} no longer has: {told}"):
        attar.condense(toy(), method, 2, out=tmp_path / "run", resume=True, **TINY[method])
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == left


def test_a_field_that_no_version_had_is_refused_too(tmp_path):
    interrupted(tmp_path / "run", "dm")
    rewrite(tmp_path / "run", colour="red")
    with pytest.raises(ValueError, match=r"run holds a run with colour = red, which dm no longer has$"):
        attar.condense(toy(), "dm", 2, out=tmp_path / "run", resume=True, **TINY["dm"])


def test_another_method_is_named_before_its_fields(tmp_path):
    interrupted(tmp_path / "run", "m3d")
    rewrite(tmp_path / "run", **RETIRED, discrepancy="energy")
    with pytest.raises(ValueError, match="run holds a run with method = m3d, not random"):
        attar.condense(toy(), "random", 2, out=tmp_path / "run", resume=True)


def test_what_was_asked_and_what_ran_is_recorded(tmp_path):
    task = toy()
    made = attar.condense(task, "dm", 2, seed=3, out=tmp_path / "run", **TINY["dm"])
    request, manifest = (json.loads((tmp_path / "run" / name).read_text()) for name in (REQUEST, MANIFEST))
    for record in (request, manifest, made.provenance):
        assert (record["method"], record["data"], record["ipc"], record["seed"]) == ("dm", "toy", 2, 3)
        assert record["fingerprint"] == task.fingerprint and record["network"] == "ConvNet"
        assert record["hyperparameters"]["updates"] == 9 and record["engine"]["device"] == "cpu"
    assert made.provenance["engine"]["ran"] == ["eager"] and made.provenance["split"] == task.split
    assert made.provenance["recipe"][0] == "DM defaults" and made.provenance["recipe"][-1] == "the caller's settings"
    assert made.provenance["versions"].keys() == {"attar", "python", "torch"}
    check_same(tmp_path / "run", request, anyway=False)


def test_a_failure_before_the_first_checkpoint_leaves_the_earlier_result(tmp_path, monkeypatch):
    kept = attar.condense(toy(), "dm", 2, out=tmp_path / "run", **TINY["dm"])
    left = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}

    def fail(*_, **__):
        raise ValueError("no images")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no images"):
        patch.setattr("attar.methods.distribution.dm.DM.begin", fail)
        attar.condense(toy(), "dm", 2, out=tmp_path / "run", overwrite=True, **TINY["dm"])
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == left
    assert torch.equal(attar.load(tmp_path / "run").images, kept.images)
    assert len((tmp_path / "run" / METRICS).read_text().splitlines()) == 9


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cuda:99"}, "torch finds no device"),
        ({"precision": "fp64"}, "unknown precision 'fp64'"),
        ({"ipc": 1.5}, "whole number"),
    ],
)
def test_what_python_cannot_ask_for(options, told, task, unchecked):
    with pytest.raises(ValueError, match=told):
        attar.condense(task, "random", **{"ipc": 1, **options})
