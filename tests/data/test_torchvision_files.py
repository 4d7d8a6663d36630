"""The files of torchvision's data sets: found wherever they lie, read as torchvision does, fetched only on demand."""

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sample_files import IDX, colours, listing, noise, official, stay_alone, turns, write_idx

from attar.data import torchvision_files
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


@pytest.mark.parametrize("inner", ["MNIST/raw", "raw", ""])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_wherever_its_files_lie(tmp_path, monkeypatch, inner, packed):
    root = tmp_path / "root"
    write_idx(root / inner, monkeypatch if packed else None)
    before = listing(root)
    task = load_data("mnist", root=str(root))
    assert task.shape == (1, 28, 28) and task.classes == tuple("0123456789") and task.split == "test set"
    assert (task.normalisation.mean, task.normalisation.std, task.flip) == ((0.1307,), (0.3081,), False)
    assert np.array_equal(task.train.x[:, 0].numpy(), noise(40, 28, 28, mean=0.1307))
    assert task.test.y.tolist() == turns(20, 10).tolist()
    assert listing(root) == before


def test_fashion_mnist_has_names_and_flips(tmp_path, monkeypatch):
    write_idx(tmp_path / "FashionMNIST/raw", monkeypatch, mean=0.2861, source="FashionMNIST")
    task = load_data("fashion-mnist", root=tmp_path)
    assert task.classes[:2] == ("T-shirt/top", "Trouser") and task.flip and task.name == "fashion-mnist"


def test_damaged_files_are_named(tmp_path, monkeypatch):
    packed = write_idx(tmp_path / "a/MNIST/raw", monkeypatch)
    packed[2].write_bytes(packed[2].read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"{packed[2].name} is damaged: its md5 is not"):
        load_data("mnist", root=tmp_path / "a")
    official(monkeypatch, "MNIST", packed)
    with pytest.raises(ValueError, match=rf"{packed[2].name} is damaged: Compressed file ended"):
        load_data("mnist", root=tmp_path / "a")
    for i, content in enumerate((b"", b"\0\0\x08", b"\0\0\x08\1\0\0\0\x09only", b"nonsense")):
        files = write_idx(tmp_path / f"b{i}/MNIST/raw")
        files[1].write_bytes(content)
        with pytest.raises(ValueError, match=rf"{files[1].name} is damaged"):
            load_data("mnist", root=tmp_path / f"b{i}")


def test_unreadable_files_are_named(tmp_path, monkeypatch):
    def closed(file):
        raise PermissionError(13, "Permission denied", str(file))

    write_idx(tmp_path / "MNIST/raw", monkeypatch)
    monkeypatch.setattr(torchvision_files, "md5", closed)
    with pytest.raises(ValueError, match=rf"cannot read mnist: .*Permission denied: '{tmp_path}.*{IDX[0]}"):
        load_data("mnist", root=tmp_path)


def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat

    x, y = colours("svhn", 20), turns(20, 10)[:, None].astype(np.uint8) + 1
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": x.transpose(1, 2, 3, 0), "y": y})
    official(monkeypatch, "SVHN", sorted(tmp_path.glob("*.mat")))
    task = load_data("svhn", root=tmp_path)
    assert np.array_equal(task.train.x.numpy(), x.transpose(0, 3, 1, 2)) and not task.flip
    assert task.train.y[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] and task.classes == tuple("0123456789")


def torchvision_datasets():
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    return datasets


@pytest.mark.parametrize("kind", ["archive", "folder", "inner"])
def test_cifar_batches(tmp_path, monkeypatch, kind):
    tv = torchvision_datasets().CIFAR100
    rows = colours("cifar100", 200).transpose(0, 3, 1, 2).reshape(200, -1)
    folder = tmp_path / "made" / tv.base_folder
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps({"data": rows, "fine_labels": turns(200, 100).tolist()}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"kind {i}" for i in range(100)]}))
    archive = tmp_path / "packed" / tv.filename
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, tv.base_folder)
    sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in ("train", "test", "meta")}
    archives = {tv.filename: hashlib.md5(archive.read_bytes()).hexdigest()}
    official(monkeypatch, "CIFAR100", sorted(folder.iterdir()), archive=archives)
    monkeypatch.setattr(tv, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(tv, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(tv, "meta", tv.meta | {"md5": sums["meta"]})
    root = {"archive": archive.parent, "folder": folder.parent, "inner": folder}[kind]
    before = listing(root)
    task = load_data("cifar100", root=root)
    assert np.array_equal(task.train.x.numpy(), rows.reshape(200, 3, 32, 32)) and listing(root) == before
    assert task.classes[:2] == ("kind 0", "kind 1") and len(task.classes) == 100


def test_the_tables_are_those_of_torchvision():
    datasets = torchvision_datasets()
    for source, layout in torchvision_files.LAYOUTS.items():
        theirs = getattr(datasets, source)
        if source == "SVHN":
            parts = theirs.split_list["train"], theirs.split_list["test"]
            assert {part[1]: part[2] for part in parts} == layout.files
        elif source.endswith("MNIST"):
            assert dict(theirs.resources) == layout.files
            assert layout.names in (None, tuple(theirs.classes))
        else:
            meta = theirs.meta["filename"], theirs.meta["md5"]
            assert dict([*theirs.train_list, *theirs.test_list, meta]) == layout.files
            assert {theirs.filename: theirs.tgz_md5} == layout.archive and theirs.base_folder in layout.folders


def test_download_is_torchvisions_and_only_on_demand(tmp_path, monkeypatch):
    asked = []

    def fake(source):
        def dataset(root, download, **part):
            asked.append((source, root, download))
            write_idx(Path(root) / "MNIST/raw")

        return dataset

    monkeypatch.setattr(torchvision_files, "torchvision_class", fake)
    with pytest.raises(ValueError, match="--download"):
        load_data("mnist", root=tmp_path / "root")
    assert not asked and not (tmp_path / "root").exists()
    assert load_data("mnist", root=tmp_path / "root", download=True).name == "mnist"
    assert load_data("mnist", root=tmp_path / "root", download=True).name == "mnist"
    assert load_data("mnist", download=True).name == "mnist"
    assert asked == [("MNIST", tmp_path / "root", True), ("MNIST", tmp_path / "cache/data", True)]


def test_a_failed_download_says_so(tmp_path, monkeypatch):
    def unreachable(source):
        def dataset(root, download, **part):
            raise OSError("no route to host")

        return dataset

    monkeypatch.setattr(torchvision_files, "torchvision_class", unreachable)
    with pytest.raises(ValueError, match=r"cannot download SVHN to .*: no route to host"):
        load_data("svhn", root=tmp_path, download=True)
