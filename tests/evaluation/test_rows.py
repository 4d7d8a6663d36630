"""Arithmetic on rows, and the file that keeps them."""

import dataclasses
import json
import math
from threading import Thread

import pytest

from attar.evaluation.rows import Row, explain_marks, read_rows, summarise, write_rows
from attar.files import lock_writer, write_json

BASE = Row(
    data="mnist",
    method="m3d",
    ipc=1,
    draw=0,
    variant="a",
    protocol="dm",
    network="ConvNet",
    seed=0,
    accuracy=90.0,
    per_class=(90.0, 90.0),
    epochs=1001,
    bytes=31_400,
    eight_bit=False,
    precision="bf16",
    split="test set",
    condense_seconds=100.0,
    train_seconds=5.0,
)


def row(**changes) -> Row:
    return dataclasses.replace(BASE, **changes)


def test_arithmetic_on_rows():
    selected = row(method="random", accuracy=60.0), row(method="random", draw=1, accuracy=70.0)
    m3d, random, other = summarise([row(), row(seed=1, accuracy=94.0), *selected, row(ipc=10)])
    assert (m3d.mean, m3d.std) == (92.0, pytest.approx(8**0.5)) and m3d.gain == 27.0
    assert random.mean == 65.0 and other.gain is None
    assert m3d.cells()[5:7] == ("92.0 ± 2.8", "+27.0") and random.cells()[7] == "2 (2 draws)"
    assert m3d.cells()[8:] == ("31.4 kB", "1 min 40 s")
    assert random.random == 65.0 and random.gain is None and random.cells()[6] == ""


def test_one_network_has_no_spread():
    (alone,), (pair,) = summarise([row()]), summarise([row(), row(seed=1)])
    assert alone.std is None and alone.cells()[5] == "90.0 ± –"
    assert pair.std == 0.0 and pair.cells()[5] == "90.0 ± 0.0"  # two networks that agree do have one


def test_sets_made_differently_are_never_averaged_and_nothing_counts_twice():
    rows = [row(), row(), row(seed=1), row(variant="b"), row(precision="fp32")]
    assert [len(summary.rows) for summary in summarise(rows)] == [2, 1, 1]


def test_rows_written_meanwhile_are_kept(tmp_path):
    path = tmp_path / "rows.json"
    with lock_writer(path):
        writer = Thread(target=write_rows, args=(path, [row(seed=1)]))
        writer.start()
        writer.join(0.3)
        assert writer.is_alive() and not path.exists()
        write_json(path, [dataclasses.asdict(row())])
    writer.join(30)
    assert [r.seed for r in read_rows(path)] == [0, 1]


def test_rows_are_kept_and_replaced(tmp_path):
    path = tmp_path / "rows.json"
    write_rows(path, [row(), row(seed=1)])
    write_rows(path, [row(accuracy=91.0), row(protocol="idc")])
    kept = [(r.protocol, r.seed, r.accuracy) for r in read_rows(path)]
    assert kept == [("dm", 0, 91.0), ("dm", 1, 90.0), ("idc", 0, 90.0)]
    path.write_text("[{}]")
    with pytest.raises(ValueError, match="does not hold rows"):
        read_rows(path)


def test_a_gain_is_not_over_a_selection_that_was_mirrored_otherwise():
    m3d, _ = summarise([row(flip=True), row(method="random", accuracy=60.0, flip=False)])
    assert m3d.gain is None


def test_further_measures_travel_with_their_row(tmp_path):
    measured = [row(measures={"under attack": 40.0}), row(seed=1, measures={"under attack": 50.0, "worst group": 7.0})]
    write_rows(tmp_path / "rows.json", measured)
    assert read_rows(tmp_path / "rows.json") == measured
    (cell,) = summarise(measured)
    assert cell.measures == {"under attack": 45.0}


def test_another_data_set_of_the_same_name_is_compared_with_nothing_of_this():
    mine, other = {"data": "arrays", "fingerprint": "a" * 32}, {"data": "arrays", "fingerprint": "b" * 32}
    m3d, random = summarise([row(**mine), row(method="random", accuracy=60.0, **other)])
    assert m3d.gain is None and [m3d.cells()[0], random.cells()[0]] == ["arrays #aaaaaa", "arrays #bbbbbb"]
    assert explain_marks([m3d, random]).startswith("arrays #aaaaaa and arrays #bbbbbb: other images")
    same, _ = summarise([row(**mine), row(method="random", accuracy=60.0, **mine | {"data": "under another name"})])
    assert same.gain == 30.0 and same.cells()[0] == "arrays" and not explain_marks([same])


def test_another_test_part_is_another_table_too():
    whole, tenth = {"fingerprint": "a" * 32, "tested": "c" * 64}, {"fingerprint": "a" * 32, "tested": "d" * 64}
    m3d, _ = summarise([row(**whole), row(method="random", **tenth)])
    assert m3d.gain is None and m3d.cells()[0] == "mnist #cccccc"
    assert summarise([row(split="validation"), row(method="random")])[0].gain is None
    assert len(summarise([row(**whole), row(**tenth)])) == 2


def test_rows_of_older_versions_are_of_the_data_they_name(tmp_path):
    new = {"fingerprint": "a" * 32, "tested": "c" * 64}
    assert summarise([row(**new), row(method="random", accuracy=60.0)])[0].gain == 30.0
    (cell,) = summarise([row(), row(seed=1, **new)])
    assert len(cell.rows) == 2 and cell.cells()[0] == "mnist"
    other = {"fingerprint": "b" * 32}  # now nobody knows which of the two an old row is of
    assert [c.gain for c in summarise([row(**new), row(**other), row(method="random")])[:2]] == [None, None]
    write_rows(tmp_path / "rows.json", [row(), row(seed=1)])
    write_rows(tmp_path / "rows.json", [row(**new)])
    assert [r.fingerprint for r in read_rows(tmp_path / "rows.json")] == ["a" * 32, ""]  # the old one is replaced


def test_damage_anywhere_in_the_file_is_noticed_and_older_files_are_read(tmp_path):
    path = tmp_path / "rows.json"
    write_rows(path, [row()])
    text = path.read_text()
    damaged = [text[:i] + chr(ord(text[i]) ^ 1) + text[i + 1 :] for i in range(len(text)) if not text[i].isspace()]
    for content in [*damaged, text[: len(text) // 2], "", "[[", "\x00", "3", '{"rows": 3}', '[{"data": 3}]', "[3]"]:
        path.write_text(content)
        with pytest.raises(ValueError, match=r"rows\.json (is damaged|does not hold rows)"):
            read_rows(path)
        assert path.read_text() == content
    with pytest.raises(ValueError, match="move it out of the folder, and its networks are trained anew"):
        path.write_text(damaged[len(damaged) // 2])
        write_rows(path, [row(seed=1)])
    older = {k: v for k, v in dataclasses.asdict(row()).items() if k not in ("fingerprint", "tested", "measures")}
    path.write_text(json.dumps([older]))
    assert read_rows(path) == [row()]
    write_rows(path, [row(seed=1)])
    assert read_rows(path) == [row(), row(seed=1)]


@pytest.mark.parametrize(
    "name, value", [("accuracy", "90"), ("data", 3), ("per_class", ["x"]), ("measures", {"a": []})]
)
def test_entries_of_another_type_are_no_rows(name, value, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([dataclasses.asdict(row()) | {name: value}]))
    with pytest.raises(ValueError, match=r"rows\.json does not hold rows"):
        read_rows(tmp_path / "rows.json")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_written(wrong, tmp_path):
    path = tmp_path / "rows.json"
    told = row(per_class=(90.0, wrong), condense_seconds=wrong, measures={"fair": 1.0, "worst": wrong})
    write_rows(path, [told])
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read_rows(path) == [row(per_class=(90.0, None), condense_seconds=None, measures={"fair": 1.0})]
    write_json(path, [dataclasses.asdict(told)])  # as older versions did
    assert summarise(read_rows(path))[0].per_class == [90.0, None]
