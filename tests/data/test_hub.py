"""Data sets that the Hugging Face library reads: folders of pictures and of Parquet files, and names on its hub."""

import logging
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sample_files import encoded, listing, noise, stay_alone, turns, write_parquet

from attar.data.load import load_data

datasets = pytest.importorskip("datasets")
alone = pytest.fixture(autouse=True)(stay_alone)
SHARED = Path(__file__).parents[3] / "shared/data"
PIXELS = noise(40, 8, 8, 3)


@pytest.fixture
def offline(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def write_folder(root: Path, **parts: range) -> str:
    """Pictures in class folders; the rows of each part."""
    for part, rows in parts.items():
        for row in rows:
            file = root / part / ("cat", "dog")[row % 2] / f"{row:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(PIXELS[row]))
    return f"hf:{root}"


def refused(data, message: str, **options) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(data, **options)


def test_a_folder_of_pictures(tmp_path, caplog):
    data = write_folder(tmp_path / "pets", train=range(30), test=range(30, 40))
    before = listing(tmp_path / "pets")
    task = load_data(data)
    assert (task.name, task.classes, task.split) == ("pets", ("cat", "dog"), "test set")
    by_class = np.concatenate([np.arange(0, 30, 2), np.arange(1, 30, 2)])  # in the order of the files
    assert np.array_equal(task.train.x.permute(0, 2, 3, 1), PIXELS[by_class])
    assert task.train.y.tolist() == turns(40)[by_class].tolist()
    assert listing(tmp_path / "pets") == before and not caplog.records


def test_a_folder_of_parquet_files_is_read_as_without_the_library(tmp_path):
    for part, rows in (("train", range(30)), ("test", range(30, 40))):
        y = turns(40)[list(rows)]
        write_parquet(tmp_path / f"pets/{part}-00000-of-00001.parquet", PIXELS[rows], y, names=["cat", "dog"])
    before = listing(tmp_path / "pets")
    task, plain = load_data(f"hf:{tmp_path / 'pets'}"), load_data(f"parquet:{tmp_path / 'pets'}")
    assert (task.fingerprint, task.classes, task.name) == (plain.fingerprint, ("cat", "dog"), "pets")
    assert np.array_equal(task.test.x, plain.test.x) and listing(tmp_path / "pets") == before


@pytest.mark.parametrize("name", ["validation", "valid", "val"])
def test_a_validation_part_judges_where_there_is_no_other(tmp_path, caplog, name):
    task = load_data(write_folder(tmp_path / "pets", train=range(30), **{name: range(30, 40)}))
    assert task.split == "validation set" and "pets has no test part: its part validation judges" in caplog.text


def test_a_damaged_picture_is_named_or_left_out(tmp_path, caplog):
    data = write_folder(tmp_path / "pets", train=range(40))
    (tmp_path / "pets/train/cat/04.png").write_bytes(b"nonsense")
    refused(data, r"pets, train: the image of row 2 \(.*pets/train/cat/04.png\) is damaged.*--skip-damaged")
    assert len(load_data(data, skip_damaged=True, split="held-out").train.x) == 35
    assert "left out 1 of 40 pictures" in caplog.text and "cat/04.png" in caplog.text


def test_pictures_that_changed_are_read_anew(tmp_path):
    data = write_folder(tmp_path / "pets", train=range(30), test=range(30, 40))
    before = load_data(data)
    (tmp_path / "pets/train/cat/40.png").write_bytes(encoded(PIXELS[0]))
    assert len(load_data(data).train.x) == len(before.train.x) + 1


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch, tmp_path):
    data = write_folder(tmp_path / "pets", train=range(40))
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(data, r"hf:.*pets needs the Hugging Face library datasets .*: pip install 'attar\[hf\]'$")


@pytest.mark.parametrize("name", ["mnist", "owner/name", "owner/name:config"])
def test_without_a_network_that_is_said_in_a_sentence(offline, caplog, name):
    level = logging.getLogger("huggingface_hub").level
    told = "the Hugging Face hub cannot be reached, and nothing of that name was downloaded before"
    refused(f"hf:{name}", f"cannot read hf:{name}: {told}$")
    assert not caplog.records and logging.getLogger("huggingface_hub").level == level


def test_places_that_hold_no_pictures(tmp_path):
    refused(f"hf:{tmp_path / 'missing'}", "cannot read hf:.*missing: there is no such folder, and .* OWNER/NAME")
    (tmp_path / "empty").mkdir()
    refused(f"hf:{tmp_path / 'empty'}", "cannot read hf:.*empty: .*doesn't contain any data files")
    (tmp_path / "table").mkdir()
    (tmp_path / "table/mine.csv").write_text("a,b\n1,2\n")
    refused(
        f"hf:{tmp_path / 'table'}", "cannot read hf:.*table: it holds csv files; expected pictures or Parquet files"
    )
    refused(f"hf:{tmp_path / 'table/mine.csv'}", "mine.csv is a file: a Parquet file is read as parquet:.*mine.csv")
    (tmp_path / "flat").mkdir()
    for row in range(4):
        (tmp_path / f"flat/{row}.png").write_bytes(encoded(PIXELS[row]))
    refused(f"hf:{tmp_path / 'flat'}", "flat, train has the columns image; expected label or fine_label or labels")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data sets in ../shared/data")
def test_a_real_set_is_read_as_without_the_library(tmp_path):
    for file in (SHARED / "imagenette64").glob("*.parquet"):
        pq.write_table(pq.read_table(file).slice(0, 200), tmp_path / file.name)
    tasks = [load_data(f"{prefix}:{tmp_path}") for prefix in ("hf", "parquet")]
    assert tasks[0].fingerprint == tasks[1].fingerprint and tasks[0].classes == tasks[1].classes
    assert tasks[0].classes[:2] == ("tench", "English springer")
    assert tasks[0].split == tasks[1].split == "validation set"
