"""Groups of examples, from wherever a user has them; what lacks or is but one is refused in a sentence."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import toy
from sample_files import encoded, noise, stay_alone, turns, write_idx

from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)

X, Y, PLACES = noise(24, 8, 8), turns(24), np.array(["sea", "land", "sea"] * 8)
X_TEST, Y_TEST, TEST_PLACES = noise(12, 8, 8), turns(12), np.array(["land", "sea"] * 6)


def check(task) -> None:
    """Whether both parts have their groups, and the fingerprint is that of the data without them."""
    assert task.groups == ("land", "sea")
    assert [task.groups[g] for g in task.train.group] == PLACES.tolist()
    assert [task.groups[g] for g in task.test.group] == TEST_PLACES.tolist()


def test_arrays():
    task = load_data((X, Y, X_TEST, Y_TEST), group=(PLACES, TEST_PLACES))
    check(task)
    plain = load_data((X, Y, X_TEST, Y_TEST))
    assert plain.groups == () and plain.train.group is None and plain.fingerprint == task.fingerprint
    check(load_data(plain, group=(PLACES, TEST_PLACES)))
    alone = load_data((X, Y, X_TEST, Y_TEST), group=(None, TEST_PLACES))
    assert alone.train.group is None and alone.test.group is not None and alone.groups == ("land", "sea")


def test_a_held_out_test_part_takes_its_groups_along():
    task = load_data((X, Y), group=PLACES)
    for part in (task.train, task.test):
        for x, group in zip(part.x, part.group, strict=True):
            (row,) = [i for i in range(24) if np.array_equal(X[i], x[0])]
            assert task.groups[group] == PLACES[row]


def test_numbers_keep_their_order():
    task = load_data((X, Y), group=[10, 9, 10] * 8)
    assert task.groups == ("9", "10") and task.train.group.bincount().argmax() == 1


def test_npz_and_npy(tmp_path):
    arrays = {"x": X, "y": Y, "x_test": X_TEST, "y_test": Y_TEST, "place": PLACES, "place_test": TEST_PLACES}
    np.savez(tmp_path / "own.npz", **arrays)
    check(load_data(f"npz:{tmp_path / 'own.npz'}", group="place"))
    (tmp_path / "folder").mkdir()
    for name, values in arrays.items():
        np.save(tmp_path / "folder" / (name if name.endswith("_test") else f"{name}_train"), values)
    check(load_data(f"npy:{tmp_path / 'folder'}", group="place"))
    with pytest.raises(ValueError, match=r"own.npz has no 'town' with the groups; it has 'x', 'y'"):
        load_data(f"npz:{tmp_path / 'own.npz'}", group="town")


def test_a_column_of_a_table(tmp_path):
    def write(name, y, places):
        rows = [f"{i * 0.5},{place},{label}" for i, (label, place) in enumerate(zip(y, places, strict=True))]
        (tmp_path / name).write_text("\n".join(["size,place,label", *rows]))

    write("train.csv", Y, PLACES)
    write("test.csv", Y_TEST, TEST_PLACES)
    task = load_data(f"table:{tmp_path}", group="place")
    check(task)
    assert [column.name for column in task.columns] == ["size", "place", "place"]  # it stays a column
    with pytest.raises(ValueError, match=r"train.csv has no 'town' with the groups; it has 'size', 'place', 'label'"):
        load_data(f"table:{tmp_path}", group="town")
    write("train.csv", Y, ["", *PLACES[1:]])
    with pytest.raises(ValueError, match=r"train.csv: line 2 has no group in the column 'place'"):
        load_data(f"table:{tmp_path}", group="place")


def write_pictures(path, x, y, places) -> None:
    cells = [{"bytes": encoded(own), "path": None} for own in x]
    pq.write_table(pa.table({"image": cells, "label": pa.array(y), "place": pa.array(places)}), path)


def test_a_column_of_pictures(tmp_path):
    write_pictures(tmp_path / "train.parquet", X, Y, PLACES)
    write_pictures(tmp_path / "test.parquet", X_TEST, Y_TEST, TEST_PLACES)
    for _ in range(2):  # decoded, and then from the cache
        check(load_data(f"parquet:{tmp_path}", group="place"))
    with pytest.raises(ValueError, match=r"train.parquet has no 'town' with the groups; it has 'image', 'label'"):
        load_data(f"parquet:{tmp_path}", group="town")
    write_pictures(tmp_path / "train.parquet", X, Y, [*PLACES[:3], None, *PLACES[4:]])
    with pytest.raises(ValueError, match="row 3 has no group in the column place"):
        load_data(f"parquet:{tmp_path}", group="place")


def test_folders_within_those_of_the_classes(tmp_path):
    photos = tmp_path / "photos"
    for part, x, y, places in (("train", X, Y, PLACES), ("test", X_TEST, Y_TEST, TEST_PLACES)):
        for i, (own, label, place) in enumerate(zip(x, y, places, strict=True)):
            file = photos / part / "ab"[label] / place / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(own))
    (photos / "train" / "a" / "sea" / "broken.png").write_bytes(b"broken")
    for _ in range(2):
        task = load_data(f"folder:{photos}", group="folder", skip_damaged=True)
        assert task.groups == ("land", "sea") and len(task.train.y) == 24
        for x, group in zip(task.train.x, task.train.group, strict=True):
            (row,) = [i for i in range(24) if np.array_equal(X[i], x[0])]
            assert task.groups[group] == PLACES[row]
    with pytest.raises(ValueError, match=r"groups are 'place', but those of .* are named by folders: say 'folder'"):
        load_data(f"folder:{photos}", group="place", skip_damaged=True)
    (photos / "train" / "a" / "loose.png").write_bytes(encoded(X[0]))
    with pytest.raises(ValueError, match=r"a/loose.png is of no group; expected .*CLASS/GROUP/PICTURE"):
        load_data(f"folder:{photos}", group="folder", skip_damaged=True)


@pytest.mark.parametrize(
    ("group", "told"),
    [
        (["sea"] * 24, "all examples are of the group 'sea': at least two groups are needed"),
        (["sea", None] * 12, "the groups of the training examples lack one, at index 1"),
        (["sea", ""] * 12, "the groups of the training examples lack one, at index 1"),
        ([1.0, float("nan")] * 12, "the groups of the training examples hold nan, at index 1"),
        (PLACES[:9], "the groups of the training examples are 9, but there are 24 examples"),
        ((None, None), "groups are labels of the training examples, of the test examples, or of both"),
    ],
)
def test_what_is_no_grouping_is_refused(group, told):
    with pytest.raises(ValueError, match=told):
        load_data((X, Y), group=group)


def test_known_sets_and_tasks_know_their_groups(tmp_path):
    write_idx(tmp_path / "MNIST/raw")
    assert load_data("colored-mnist-fg", root=tmp_path, group="colour").groups[0] == "red"
    with pytest.raises(ValueError, match="unknown groups of colored-mnist-fg 'color', did you mean 'colour'"):
        load_data("colored-mnist-fg", root=tmp_path, group="color")
    with pytest.raises(ValueError, match="mnist has no groups, and so none called colour"):
        load_data("mnist", root=tmp_path, group="colour")
    task = load_data("mnist", root=tmp_path, group=(turns(40, 2), turns(20, 2)))
    assert task.groups == ("0", "1")
    for data in (toy(), (X, Y)):
        with pytest.raises(ValueError, match="group is 'place', a name, as only files have: give the groups"):
            load_data(data, group="place")
