"""Tables in CSV and Parquet files and in folders: read by name, or refused by file, line and column."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris

from attar.data.load import load_data

ROWS = "age,town,label\n30,Ulm,no\n40,Bonn,yes\n50,Ulm,no\n20,Bonn,yes\n35,Ulm,no\n60,Bonn,yes\n"


def write(path, text=ROWS, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def read(path, **options):
    return load_data(f"table:{path}", **options)


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        ROWS + "\n",
        ROWS.replace("Ulm", '"Ulm"').replace("30,", '"30",'),
    ],
)
def test_text_tables_in_their_usual_forms(text, tmp_path):
    task = read(write(tmp_path / "people.csv", text), name="people")
    assert task.classes == ("no", "yes") and task.split.startswith("hold-out")
    assert [(c.name, c.category) for c in task.columns] == [("age", None), ("town", "Bonn"), ("town", "Ulm")]
    assert len(task.train.y) + len(task.test.y) == 6


def test_parquet_reads_as_text_does(tmp_path):
    columns = {"age": [30, 40, 50, 20, 35, 60], "town": ["Ulm", "Bonn"] * 3, "label": ["no", "yes"] * 3}
    kinds = [pa.decimal128(20, 1), pa.dictionary(pa.int8(), pa.string()), pa.large_string()]
    table = pa.table(
        {name: pa.array(values).cast(kind) for (name, values), kind in zip(columns.items(), kinds, strict=True)}
    )
    pq.write_table(table, tmp_path / "people.parquet")
    task = read(tmp_path / "people.parquet")
    assert task.fingerprint == read(write(tmp_path / "people.csv")).fingerprint and task.name == "people"


def test_a_folder_has_a_training_and_a_test_part(tmp_path, caplog):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", "label,age,town\nno,100,Ulm\n")
    write(tmp_path / "val.csv", "label,age,town\nno,80,Ulm\nyes,70,Ulm\n")
    task = read(tmp_path)
    assert len(task.train.y) == 6 and task.split == "test set" and task.name == tmp_path.name
    assert task.test.x.flatten().tolist() == [2, 0, 1]
    assert len(read(tmp_path, split="validation").test.y) == 2
    write(tmp_path / "test.csv", "age,town\n100,Ulm\n")  # whose labels are kept secret
    assert len(read(tmp_path, split="held-out").train.y) < 6
    with pytest.raises(ValueError, match=r"test.csv has no column called label, target, class or y"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["label", "Target", "CLASS", "y"])
def test_labels_are_found_by_name(name, tmp_path):
    assert read(write(tmp_path / "a.csv", ROWS.replace("label", name))).classes == ("no", "yes")


def test_another_column_of_labels_is_named(tmp_path):
    file = write(tmp_path / "a.csv", ROWS.replace("label", "sick"))
    told = "a.csv has no column called label, target, class or y: .* --label-column; its columns are age, town, sick"
    with pytest.raises(ValueError, match=told):
        read(file)
    assert read(file, label_column="sick").classes == ("no", "yes")
    assert read(file, label_column="town").classes == ("Bonn", "Ulm")
    with pytest.raises(ValueError, match=r"a.csv: unknown column 'sik', did you mean 'sick'"):
        read(file, label_column="sik")
    both = write(tmp_path / "b.csv", ROWS.replace("town", "y"))
    with pytest.raises(ValueError, match=r"b.csv has both y and label: name that of the labels"):
        read(both)


@pytest.mark.parametrize("label", [["0", "1"], ["true", "false"], ["1.0", "2.0"], ["x y", "z"]])
def test_labels_of_any_kind_keep_their_names(label, tmp_path):
    task = read(write(tmp_path / "a.csv", "a,label\n" + "".join(f"{i},{label[i % 2]}\n" for i in range(8))))
    whole = {"1.0": "1", "2.0": "2", "true": "True", "false": "False"}
    assert task.classes == tuple(sorted(whole.get(name, name) for name in label))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv is empty"),
        (" \n\n", "a.csv is empty"),
        ("age,town,label\n", "a.csv has no rows"),
        ("label\nx\ny\n", "a.csv: the training table has no column besides that of the labels"),
        (ROWS.replace("40,", ","), "a.csv: the training table has no value in the column 'age' in line 3"),
        (ROWS.replace("40,Bonn", "40,NA"), "a.csv: the training table has no value in the column 'town' in line 3"),
        (ROWS.replace("20,Bonn,yes", "20,Bonn,"), "a.csv: line 5 has no label in the column 'label'"),
        (ROWS.replace("40", "inf"), "a.csv: the training table: the column 'age' holds inf in line 3; expected finite"),
        (ROWS.replace("town", "age"), "a.csv has two columns 'age'"),
        (ROWS.replace("40,Bonn,yes", "40,Bonn"), "a.csv is damaged, or no table: .*Row #3: Expected 3 columns, got 2"),
        (ROWS.replace("yes", "no"), "a.csv: the training labels are all 'no': at least two classes are needed"),
        ("when,label\n2020-01-01,x\n2021-01-01,y\n", "a.csv: the column 'when' holds date32.*; expected numbers, text"),
        (
            "name,label\n" + "".join(f"p{i},{i % 2}\n" for i in range(3000)),
            "'name' holds 3,000 different values in 3,0",
        ),
    ],
)
def test_tables_that_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("text", [ROWS.replace("Ulm", "Köln"), ROWS.replace("town", "Größe"), ROWS.replace("no", "nö")])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_than_utf_8_are_refused(text, encoding, tmp_path):
    with pytest.raises(ValueError, match=r"a.csv.* is not in UTF-8: save it in that encoding"):
        read(write(tmp_path / "a.csv", text, encoding))


def test_the_types_of_columns_are_seen_from_all_rows(tmp_path):
    text = "a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(200_000)) + "0.5,1\n"  # over a megabyte
    assert read(write(tmp_path / "a.csv", text)).columns[0].high == 199_999


@pytest.mark.parametrize("content", [b"PAR1 and no more", bytes(range(256)) * 8])
def test_damaged_files_are_named(content, tmp_path):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.parquet is (damaged, or no table|not in UTF-8)"):
        read(tmp_path / "a.parquet")


def test_pictures_in_a_parquet_file_are_no_table(tmp_path):
    cells = pa.array([{"bytes": b"x", "path": "y"}] * 2)
    pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet: the column 'image' holds struct.*; expected numbers, text"):
        read(tmp_path / "a.parquet")


def test_unknown_categories_of_a_test_part_are_named(tmp_path):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", "age,town,label\n1,Ulm,no\n1,Rom,no\n")
    told = "test.csv: the test table: the column 'town' holds 'Rom' in line 3, a category that no training row has"
    with pytest.raises(ValueError, match=told):
        read(tmp_path)


def test_folders_without_a_clear_part_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(ValueError, match="has the parts none; expected train"):
        read(tmp_path)
    write(tmp_path / "train.csv")
    write(tmp_path / "train.tsv", ROWS.replace(",", "\t"))
    with pytest.raises(ValueError, match=r"has both train.csv and train.tsv: leave one out"):
        read(tmp_path)


def test_a_path_alone_is_read_where_it_is_plainly_a_table(tmp_path, caplog):
    file = write(tmp_path / "train.csv")
    assert load_data(str(file)).columns == load_data(str(tmp_path)).columns == read(file).columns
    assert f"{file} is read as table:{file}" in caplog.text


def test_a_parquet_file_without_pictures_is_read_as_a_table(tmp_path, caplog):
    file = tmp_path / "train.parquet"
    pq.write_table(pa.table({"age": [30.0, 40, 50, 20] * 2, "label": ["no", "yes"] * 4}), file)
    assert load_data(str(file)).columns == load_data(str(tmp_path)).columns == read(file).columns
    assert f"{file} is read as table:{file}" in caplog.text


def test_iris_from_a_file_is_iris_from_python(tmp_path):
    data = load_iris(as_frame=True)
    frame = data.data.assign(species=data.target_names[data.target])
    frame.to_csv(tmp_path / "iris.csv", index=False)
    task = read(tmp_path / "iris.csv", label_column="species")
    own = load_data((data.data, frame.species.to_numpy()))
    assert task.fingerprint == own.fingerprint and task.columns == own.columns and task.classes == own.classes
