"""A user's Parquet files: one or a folder of them, their columns, and rows that are refused or left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_files import encoded, listing, noise, stay_alone, turns

from attar.data import encoded_table
from attar.data.columns import MOST_CLASSES
from attar.data.load import load_data
from attar.data.parquet import read_parquet
from attar.data.reading import Reading

alone = pytest.fixture(autouse=True)(stay_alone)
SHARED = Path(__file__).parents[3] / "shared/data"
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PIXELS = noise(40, 8, 8, 3)
CELLS = [{"bytes": encoded(pixels), "path": None} for pixels in PIXELS]


def write(path: Path, y=None, cells=CELLS, *, image: str = "image", label: str = "label", names=None, **others) -> Path:
    """A Parquet file as users have them; `others` are columns of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y = turns(len(cells)).tolist() if y is None else y
    kind = CELL if any(isinstance(cell, dict) for cell in cells) else None
    table = pa.table({image: pa.array(cells, kind), label: pa.array(y), **others})
    features = {"info": {"features": {label: {"_type": "ClassLabel", "names": names}}}}
    held = {"huggingface": json.dumps(features)} if names else None
    pq.write_table(table.replace_schema_metadata(held), path, row_group_size=8)
    return path


def part(start: int, stop: int) -> list:
    return CELLS[start:stop]


def refused(data, message: str, **options) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(data, **options)


def test_one_file(tmp_path, caplog):
    file = write(tmp_path / "here/mine.parquet", names=["cat", "dog"])
    before = listing(tmp_path / "here")
    task = load_data(f"parquet:{file}")
    assert (task.name, task.classes, task.split) == ("mine", ("cat", "dog"), task.split)
    assert task.split.startswith("hold-out: 10 %") and len(task.train.x) == 36
    whole = load_data((PIXELS, turns(40)))
    assert (task.fingerprint, task.normalisation) == (whole.fingerprint, whole.normalisation)
    assert listing(tmp_path / "here") == before and not caplog.records


@pytest.mark.parametrize("labels", [["b", "a"], [True, False], [7, 3], [1.0, 0.0]])
def test_labels_of_any_kind_keep_their_names(tmp_path, labels):
    y = labels * 20
    task = load_data(f"parquet:{write(tmp_path / 'mine.parquet', y)}")
    whole = load_data((PIXELS, np.array(y)))
    assert task.classes == whole.classes and task.train.y.tolist() == whole.train.y.tolist()


@pytest.mark.parametrize("form", ["structures", "bytes", "paths", "paths in structures"])
def test_images_lie_in_the_file_or_beside_it(tmp_path, form):
    (tmp_path / "pictures").mkdir()
    for i, cell in enumerate(CELLS):
        (tmp_path / f"pictures/{i}.png").write_bytes(cell["bytes"])
    paths = [f"pictures/{i}.png" for i in range(40)]
    cells = {
        "structures": CELLS,
        "bytes": [cell["bytes"] for cell in CELLS],
        "paths": paths,
        "paths in structures": [{"bytes": None, "path": path} for path in paths],
    }[form]
    file = write(tmp_path / "mine.parquet", cells=cells)
    assert load_data(f"parquet:{file}").fingerprint == load_data((PIXELS, turns(40))).fingerprint
    if "paths" in form:
        (tmp_path / "pictures/7.png").unlink()
        told = r"mine.parquet: the image of row 7 is not in the table, and there is no file .*pictures/7.png"
        refused(f"parquet:{file}", told)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("train-00000-of-00002", "train-00001-of-00002"), ("test-00000-of-00001",)),
        (("train_0", "train_1"), ("test",)),
        (("mine-train.part.3", "mine-train.part.4"), ("mine-test.part.0",)),
        (("train/0000", "train/0001"), ("test/0000",)),
        (("data/train-a", "data/train-b"), ("data/test-a",)),
        (("default/training/0", "default/training/1"), ("default/testing/0",)),
    ],
)
def test_a_folder_of_shards_of_any_naming(tmp_path, train, test):
    for name, cells in zip((*train, *test), (part(0, 12), part(12, 30), part(30, 40)), strict=True):
        write(tmp_path / f"mine/{name}.parquet", cells=cells)
    write(tmp_path / "mine/.cache/train.parquet", cells=part(0, 2))
    before = listing(tmp_path / "mine")
    task = load_data(f"parquet:{tmp_path / 'mine'}")
    assert (task.name, task.split, len(task.test.x)) == ("mine", "test set", 10)
    assert np.array_equal(task.train.x.permute(0, 2, 3, 1), PIXELS[:30]) and listing(tmp_path / "mine") == before


def test_shards_that_name_no_part_all_train(tmp_path):
    """Whatever the folder is called."""
    for name, cells in (("part-00000-7f2c.snappy", part(0, 20)), ("part-00001-7f2c.snappy", part(20, 40))):
        write(tmp_path / f"train-test/{name}.parquet", cells=cells)
    assert load_data(f"parquet:{tmp_path / 'train-test'}").fingerprint == load_data((PIXELS, turns(40))).fingerprint


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_a_validation_part_judges_where_there_is_no_other(tmp_path, caplog, name):
    write(tmp_path / "mine/train.parquet", cells=part(0, 30))
    write(tmp_path / f"mine/{name}.parquet", cells=part(30, 40))
    data = f"parquet:{tmp_path / 'mine'}"
    assert load_data(data).split == "validation set"
    assert f"mine has no test part: its part {name} judges" in caplog.text
    assert len(load_data(data, split="validation").test.x) == 10
    assert load_data(data, split="held-out").split.startswith("hold-out")
    refused(data, "split is test, but mine has no test part", split="test")


def test_parts_that_cannot_be_told(tmp_path):
    data = f"parquet:{tmp_path / 'mine'}"
    refused(data, "no such file or folder: .*mine")
    (tmp_path / "mine").mkdir()
    refused(data, "mine holds no Parquet files: none that ends in .parquet")
    for name in ("ham", "spam"):
        write(tmp_path / f"mine/{name}.parquet")
    refused(data, "mine has the parts ham, spam; expected train, and perhaps test or validation")
    write(tmp_path / "other/a/train.parquet")
    write(tmp_path / "other/b/train.parquet")
    refused(f"parquet:{tmp_path / 'other'}", "other holds Parquet files in 'a', 'b': name one")
    write(tmp_path / "both/test-train-0.parquet")
    refused(f"parquet:{tmp_path / 'both'}", "test-train-0 may be of the parts test or train: call it by one of them")
    write(tmp_path / "half/train-00000-of-00002.parquet")
    refused(f"parquet:{tmp_path / 'half'}", "half has 1 of the 2 files that train-00000-of-00002.parquet belongs to")


def test_a_column_is_chosen(tmp_path, caplog):
    coarse, mask = pa.array(turns(40, 4)), pa.array(CELLS[::-1], CELL)
    file = write(tmp_path / "mine.parquet", label="fine_label", names=["a", "b"], mask=mask, kind=coarse)
    data = f"parquet:{file}"
    assert load_data(data).classes == ("a", "b")
    assert caplog.messages == [f"{file}: the images are the column image; to take mask instead, --image-column"]
    caplog.clear()
    chosen = load_data(data, image_column="mask", label_column="kind")
    assert not caplog.records
    assert chosen.fingerprint == load_data((PIXELS[::-1], turns(40, 4))).fingerprint
    refused(
        data, "unknown column 'masks', did you mean 'mask'.* known: image, fine_label, mask, kind", image_column="masks"
    )
    refused(data, "kind holds int64; expected encoded images", image_column="kind")
    for option in ("image_column", "label_column"):
        refused("digits", f"{option} is for .*parquet:", **{option: "x"})


@pytest.mark.parametrize("labels", [["a", None], [0, None], [None, None]])
def test_a_row_without_a_label_is_named_before_any_is_decoded(tmp_path, labels):
    cells = [{"bytes": b"nonsense", "path": None}, *CELLS[1:]]
    y = [label for label in labels for _ in range(20)]
    data = f"parquet:{write(tmp_path / 'mine.parquet', y, cells)}"
    told = rf"mine.parquet: row {y.index(None)} has no label in the column label"
    refused(data, told)
    refused(data, told, skip_damaged=True)


def test_captions_are_no_classes(tmp_path):
    y = [f"a picture of {i}" for i in range(MOST_CLASSES + 1)]
    file = write(tmp_path / "mine.parquet", y, CELLS[:1] * len(y))
    refused(
        f"parquet:{file}", "mine.parquet: the column label holds 1,001 different labels in 1,001 rows, which are no"
    )


@pytest.mark.parametrize(
    ("held", "message"), [(b"nonsense", "is damaged, or no JPEG"), (b"", "is empty"), (None, "is empty")]
)
def test_a_damaged_row_is_named_or_left_out(tmp_path, caplog, held, message):
    cells = [*CELLS]
    cells[11] = {"bytes": held, "path": None}
    data = f"parquet:{write(tmp_path / 'mine.parquet', cells=cells)}"
    refused(data, f"mine.parquet: the image of row 11 {message}.*--skip-damaged")
    task = load_data(data, skip_damaged=True)
    kept = np.delete(np.arange(40), 11)
    assert task.fingerprint == load_data((PIXELS[kept], turns(40)[kept])).fingerprint
    assert "left out 1 of 40 pictures" in caplog.text and "the image of row 11" in caplog.text


def test_the_same_file_is_decoded_once(tmp_path, monkeypatch, caplog):
    cells = [*CELLS]
    cells[11] = {"bytes": b"nonsense", "path": None}
    file = write(tmp_path / "mine.parquet", ["b", "a"] * 20, cells, kind=pa.array(turns(40, 4)))
    first = load_data(f"parquet:{file}", skip_damaged=True)
    caplog.clear()
    with monkeypatch.context() as patch:
        patch.setattr(encoded_table, "decode_pictures", None)
        again = load_data(f"parquet:{file}", skip_damaged=True)
        assert (again.fingerprint, again.classes) == (first.fingerprint, ("a", "b"))
        assert "left out 1 of 40 pictures" in caplog.text
        assert len(load_data(f"parquet:{file}", skip_damaged=True, label_column="kind").classes) == 4
    write(file, ["b", "a"] * 20)
    assert (
        load_data(f"parquet:{file}", skip_damaged=True).fingerprint == load_data((PIXELS, ["b", "a"] * 20)).fingerprint
    )


def test_pictures_beside_a_file_are_read_anew(tmp_path):
    for row, cell in enumerate(CELLS):
        (tmp_path / f"{row}.png").write_bytes(cell["bytes"])
    data = f"parquet:{write(tmp_path / 'mine.parquet', cells=[f'{row}.png' for row in range(40)])}"
    load_data(data)
    (tmp_path / "3.png").write_bytes(encoded(PIXELS[4]))
    changed = PIXELS[[*range(3), 4, *range(4, 40)]]
    assert load_data(data).fingerprint == load_data((changed, turns(40))).fingerprint


def test_images_of_many_sizes(tmp_path):
    cells = [*CELLS[:39], {"bytes": encoded(noise(12, 10, 3)), "path": None}]
    data = f"parquet:{write(tmp_path / 'mine.parquet', cells=cells)}"
    refused(data, "the image of row 39 .*--size 8")
    assert load_data(data, size=8).shape == (3, 8, 8)


def test_shards_of_different_columns(tmp_path):
    write(tmp_path / "train-0.parquet", cells=part(0, 20))
    data = f"parquet:{tmp_path}"
    for options, message in (
        ({"label": "kind"}, "train-1.parquet has the columns image, kind, but .*train-0.parquet has a column label"),
        ({"y": ["a", "b"] * 10}, "train-1.parquet: the column label holds string, but in .*train-0.* holds int64"),
    ):
        write(tmp_path / "train-1.parquet", cells=part(20, 40), **options)
        refused(data, message)


def test_files_that_are_none(tmp_path):
    file = write(tmp_path / "mine.parquet")
    whole = file.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        file.write_bytes(content)
        refused(f"parquet:{file}", "mine.parquet is damaged, or no Parquet file")
    write(file, [], [{"bytes": b"", "path": None}][:0], image="image")
    refused(f"parquet:{file}", "mine.parquet: the training|the column")


def test_a_file_that_is_damaged_anywhere_is_read_or_named(tmp_path):
    """Also text that is no text, and columns of different lengths."""
    file = write(tmp_path / "mine.parquet", ["kätzchen", "hündchen"] * 6, part(0, 12))
    whole = file.read_bytes()
    for place in range(0, len(whole), 53):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0b1101_0101]) + whole[place + 1 :])
        try:
            read_parquet(file, Reading())
        except ValueError as error:
            assert type(error) is ValueError and str(error).startswith(str(file))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data sets in ../shared/data")
def test_the_coarse_labels_of_cifar100(tmp_path, caplog):
    some = pq.read_table(SHARED / "cifar100/test-00000-of-00001.parquet").slice(0, 2000)
    pq.write_table(some, tmp_path / "some.parquet")
    fine = load_data(f"parquet:{tmp_path / 'some.parquet'}")
    assert len(fine.classes) == 100 and "the column fine_label; to take coarse_label instead" in caplog.text
    coarse = load_data(f"parquet:{tmp_path / 'some.parquet'}", label_column="coarse_label")
    assert len(coarse.classes) == 20 and coarse.classes[:2] == ("aquatic_mammals", "fish")
