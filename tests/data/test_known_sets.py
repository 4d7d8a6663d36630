"""Known sets: what is said of them, that their files are theirs, and that they are decoded once."""

from pathlib import Path

import pytest
import torch
from sample_files import listing, rewrite, stay_alone, write_idx

from attar.data import decoded_cache, torchvision_files
from attar.data.known_sets import DATASETS
from attar.data.load import load_data
from attar.data.measure import moments

REAL = Path(__file__).parents[3] / "shared" / "data"
alone = pytest.fixture(autouse=True)(stay_alone)


def test_digits():
    task = load_data("digits")
    assert (task.name, task.shape, len(task.classes), task.flip) == ("digits", (1, 8, 8), 10, False)
    assert task.split == "hold-out: 20 % of the given examples, stratified"
    assert len(task.train.y) + len(task.test.y) == 1797
    assert task.train.x.dtype == torch.uint8 and task.train.x.max() == 255
    assert task.test.y.bincount().min() >= 34
    assert torch.allclose(task.normalise(task.train.x).mean(), torch.zeros(()), atol=1e-5)
    assert task.fingerprint == load_data("digits").fingerprint


def test_every_known_set_describes_itself_in_a_line():
    given = [name for name, known in DATASETS.items() if not known.made_of]
    assert given == ["digits", "mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"]
    for entry in DATASETS.values():
        assert "\n" not in entry.about and entry.title in entry.about
    assert DATASETS["mnist"].about == "MNIST: 70,000 handwritten digits, 28x28 grey"


def test_the_default_root_is_in_the_cache(tmp_path):
    write_idx(tmp_path / "cache/data/MNIST/raw")
    assert load_data("mnist").name == "mnist"


def test_files_of_another_set_are_refused(tmp_path):
    write_idx(tmp_path / "FashionMNIST/raw", mean=0.2861)
    told = r"FashionMNIST/raw does not hold MNIST: the mean of its images is 0.28\d\d, not 0.1307"
    with pytest.raises(ValueError, match=told):
        load_data("mnist", root=tmp_path / "FashionMNIST")
    write_idx(tmp_path / "MNIST/raw", side=20)
    with pytest.raises(ValueError, match=r"its images have the shape \(1, 20, 20\), not \(1, 28, 28\)"):
        load_data("mnist", root=tmp_path)


def test_missing_files_are_named(tmp_path):
    files = write_idx(tmp_path / "MNIST/raw")
    files[0].unlink()
    looked = r"train-images-idx3-ubyte\[.gz\].*MNIST/raw/.*train-\*.parquet"
    with pytest.raises(ValueError, match=rf"no MNIST in .*{looked}.*--download.*--root"):
        load_data("mnist", root=tmp_path)
    looked = r"cifar-10-python.tar.gz, data_batch_1.*cifar-10-batches-py/"
    with pytest.raises(ValueError, match=rf"no CIFAR-10 in .*cache/data: looked for {looked}"):
        load_data("cifar10")


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """What has been decoded, as it happens."""
    seen, read = [], torchvision_files.read_files
    monkeypatch.setattr(
        torchvision_files, "read_files", lambda source, *rest: (seen.append(source), read(source, *rest))[1]
    )
    return seen


def test_what_is_decoded_once_is_cached(tmp_path, decodings):
    files = write_idx(tmp_path / "root/MNIST/raw")
    first, second = (load_data("mnist", root=tmp_path / "root") for _ in range(2))
    assert decodings == ["MNIST"] and first.fingerprint == second.fingerprint and first.classes == second.classes
    assert second.on_disk and torch.equal(first.test.x, second.test.x)
    assert first.normalise(second.train.x[:1]).isfinite().all()
    files[0].touch()
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    load_data("mnist", root=tmp_path / "elsewhere")
    assert decodings == ["MNIST"]


def test_a_changed_file_of_the_same_size_and_time_is_decoded_anew(tmp_path, decodings):
    files = write_idx(tmp_path / "MNIST/raw")
    first = load_data("mnist", root=tmp_path)
    for file in files:
        rewrite(file, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    second = load_data("mnist", root=tmp_path)
    assert decodings == ["MNIST"] * 2 and second.fingerprint != first.fingerprint
    assert not torch.equal(second.test.x, first.test.x)


def test_another_decoder_decodes_anew(tmp_path, decodings, monkeypatch):
    write_idx(tmp_path / "root/MNIST/raw")
    load_data("mnist", root=tmp_path / "root")
    monkeypatch.setattr(decoded_cache, "DECODER", decoded_cache.DECODER + 1)
    load_data("mnist", root=tmp_path / "root")
    assert decodings == ["MNIST"] * 2


def test_a_damaged_cache_is_made_anew_and_that_is_said(tmp_path, decodings, caplog):
    write_idx(tmp_path / "root/MNIST/raw")
    first = load_data("mnist", root=tmp_path / "root")
    (path,) = (tmp_path / "cache/decoded").glob("*.safetensors")
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[:-5], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        path.unlink()
        path.write_bytes(content)
        caplog.clear()
        assert torch.equal(load_data("mnist", root=tmp_path / "root").train.x, first.train.x)
        assert f"{path} is damaged" in caplog.text and "mnist is decoded anew" in caplog.text
    assert len(decodings) == 5
    load_data("mnist", root=tmp_path / "root")
    assert len(decodings) == 5


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, decodings):
    write_idx(tmp_path / "root/MNIST/raw")
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "file"))
    assert load_data("mnist", root=tmp_path / "root").name == load_data("mnist", root=tmp_path / "root").name
    assert len(decodings) == 2


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="no MNIST under ../shared/data")
def test_the_real_mnist():
    before = listing(REAL)
    task = load_data("mnist", root=REAL)
    assert task.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert task.test.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = moments(task.train.x)
    assert (round(mean[0], 4), round(std[0], 4)) == (*task.normalisation.mean, *task.normalisation.std)
    assert listing(REAL) == before


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no CIFAR-10 under ../shared/data")
def test_the_real_cifar10(tmp_path):
    """The first thousand rows of each part, to stay fast."""
    import pyarrow.parquet as pq

    before = listing(REAL)
    for part in ("train", "test"):
        name = f"{part}-00000-of-00001.parquet"
        pq.write_table(pq.ParquetFile(REAL / "cifar10" / name).read_row_group(0), tmp_path / name)
    task = load_data("cifar10", root=tmp_path)
    assert task.classes[0] == "airplane" and task.classes[6] == "frog" and len(task.train.y) == len(task.test.y) == 1000
    assert task.train.y[:4].tolist() == [6, 9, 9, 4] and task.test.y[:4].tolist() == [3, 8, 8, 0]
    assert task.train.x[0, :, 0, 0].tolist() == [59, 62, 63] and listing(REAL) == before
