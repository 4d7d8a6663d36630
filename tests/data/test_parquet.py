"""Parquet files of the hub: found wherever they lie, whole or refused, the same bits where they exceed the memory."""

import numpy as np
import pytest
import torch
from sample_files import colours, encoded, huge, listing, noise, stay_alone, turns, write_cifar, write_parquet

from attar.data import decoded_cache, on_disk
from attar.data.columns import class_names
from attar.data.known_sets import DATASETS
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


@pytest.mark.parametrize("place", ["", "cifar10", "data", "plain_text", "cifar10/plain_text", "cifar10/data"])
def test_parquet_wherever_it_lies(tmp_path, place):
    root = tmp_path / "root"
    write_cifar(root / place, names=[f"kind {i}" for i in range(10)])
    before = listing(root)
    task = load_data("cifar10", root=root)
    assert task.shape == (3, 32, 32) and task.classes[3] == "kind 3" and task.train.y.tolist() == turns(20, 10).tolist()
    assert np.array_equal(task.train.x[:, 0].numpy(), noise(20, 32, 32, mean=0.4914))
    assert task.normalisation == DATASETS["cifar10"].normalisation
    assert listing(root) == before


@pytest.mark.parametrize(("name", "columns"), [("cifar100", ("img", "fine_label")), ("mnist", ("image", "label"))])
def test_parquet_of_other_sets(tmp_path, name, columns):
    write_cifar(tmp_path / name, name, columns=columns)
    task = load_data(name, root=tmp_path)
    assert len(task.classes) == (100 if name == "cifar100" else 10) and task.classes[-1] in ("9", "99")


def test_a_set_with_other_classes_is_refused(tmp_path):
    """Their means are too near to tell CIFAR-100's images from CIFAR-10's."""
    write_cifar(tmp_path / "cifar10", "cifar100")
    with pytest.raises(ValueError, match=r"cifar10 does not hold CIFAR-10: it has 100 classes, not 10"):
        load_data("cifar10", root=tmp_path)


def test_parquet_larger_than_memory_gives_the_same_bits(tmp_path, monkeypatch):
    write_cifar(tmp_path)
    first = load_data("cifar10", root=tmp_path)
    monkeypatch.setattr(decoded_cache, "DECODER", decoded_cache.DECODER + 1)
    monkeypatch.setattr(on_disk, "LIMIT", 0)
    again = load_data("cifar10", root=tmp_path)
    assert again.on_disk and again.fingerprint == first.fingerprint and torch.equal(again.test.x, first.test.x)


def test_shards_go_together(tmp_path):
    train, _ = write_cifar(tmp_path)
    train.rename(tmp_path / "train-00000-of-00002.parquet")
    with pytest.raises(ValueError, match=r"has 1 of the 2 files that train-00000-of-00002.parquet belongs to"):
        load_data("cifar10", root=tmp_path)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", colours("cifar10", 20)[:10], turns(10, 10))
    assert len(load_data("cifar10", root=tmp_path).train.y) == 30


def test_parquet_that_is_damaged(tmp_path):
    train, test = write_cifar(tmp_path)
    whole = train.read_bytes()
    good = encoded(noise(32, 32, 3))

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_data("cifar10", root=tmp_path)

    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        train.write_bytes(content)
        refused(f"{train.name} is damaged, or no Parquet file")
    write_parquet(train, [], [0, 1], columns=("picture", "kind"), cells=[{"bytes": good, "path": None}] * 2)
    refused(f"{train.name} has the columns picture, kind; expected label or fine_label or labels for the labels")
    write_parquet(train, [], [0, 1], columns=("picture", "label"), cells=[{"bytes": good, "path": None}] * 2)
    refused(f"{test.name} has the columns img, label, but .*{train.name} has a column picture")
    told = {good[:60]: "is damaged", b"nonsense": "is damaged", None: "is not in the table"}
    told |= {huge(60_000, 60_000): r"is too large: .*3600000000 pixels.*", huge(20_000, 9_000): "is too large"}
    for cell, message in told.items():
        cells = [{"bytes": good, "path": None}, {"bytes": cell, "path": "elsewhere.png"}]
        write_parquet(train, [], [0, 1], cells=cells)
        refused(f"{train.name}: the image of row 1 {message}")
    write_parquet(train, [], [0, None], cells=[{"bytes": good, "path": None}] * 2)
    refused(f"{train.name}: row 1 has no label")
    write_parquet(train, [noise(32, 32, 3), noise(30, 32, 3)], [0, 1])
    refused("the image of row 1 is 30x32, but .*the image of row 0 is 32x32: all must have one size$")
    test.unlink()
    refused("no CIFAR-10 in")


def test_bad_metadata_leaves_the_labels_their_numbers(tmp_path):
    import pyarrow.parquet as pq

    train, _ = write_cifar(tmp_path)
    names = ('"ab"', "5", "[0, 1]", '{"a": 1}', "[" * 5000)
    held = [f'{{"info": {{"features": {{"label": {{"names": {value}}}}}}}}}' for value in names]
    for text in ("nonsense", "{}", "[]", '{"info": {"features": {"label": {"_type": "Value"}}}}', "[" * 5000, *held):
        pq.write_table(pq.read_table(train).replace_schema_metadata({"huggingface": text}), train)
        assert class_names(pq.read_schema(train), "label") is None
