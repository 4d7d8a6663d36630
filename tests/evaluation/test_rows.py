"""Arithmetic on rows, and the file that keeps them."""

import dataclasses
from threading import Thread

import pytest

from attar.evaluation.rows import Row, read_rows, summarise, write_rows
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
    assert m3d.cells()[4:6] == ("92.0 ± 2.8", "+27.0") and random.cells()[6] == "2 (2 draws)"
    assert m3d.cells()[7:] == ("31.4 kB", "1 min 40 s")


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
