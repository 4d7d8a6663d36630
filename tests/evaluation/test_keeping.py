"""Rows are kept as each network ends: an evaluation that is ended early goes on with what is missing."""

import dataclasses
import os
import shutil
from contextlib import suppress

import pytest
from conftest import toy
from faults import FAULTS, RAISED, count_steps, failing

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.engine.ledger import LEDGER
from attar.evaluation import jobs
from attar.evaluation.jobs import variant
from attar.evaluation.rows import ROWS, read_rows, write_rows
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=8)
OPTIONS = {"protocol": QUICK, "device": "cpu", "precision": "fp32"}


@pytest.fixture
def folder(task, tmp_path):
    attar.condense(task, "random", 1, out=tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def trained(monkeypatch):
    """The seeds of networks that were trained; the third of them ends the evaluation if `stops` is among them."""
    seeds, original = [], jobs.train_and_test

    def count(job, tick):
        if "stops" in seeds and len(seeds) == 3:
            raise KeyboardInterrupt
        seeds.extend(row.seed for row in job.rows)
        return original(job, tick)

    monkeypatch.setattr(jobs, "train_and_test", count)
    return seeds


def told(rows):
    """All but what a clock says."""
    return [dataclasses.replace(row, train_seconds=0.0) for row in rows]


def test_an_interrupted_evaluation_goes_on_with_the_seeds_that_are_missing(folder, task, trained):
    whole = attar.evaluate(attar.load(folder), task, seeds=4, **OPTIONS)
    assert trained == [0, 1, 2, 3] and not (folder / ROWS).exists()  # a set alone has no folder
    trained[:] = ["stops"]
    with pytest.raises(KeyboardInterrupt):
        attar.evaluate(folder, task, seeds=4, **OPTIONS)
    assert [row.seed for row in read_rows(folder / ROWS)] == [0, 1] and (folder / LEDGER).exists()
    trained.clear()
    rows = attar.evaluate(folder, task, seeds=4, **OPTIONS)
    assert trained == [2, 3] and told(rows) == told(whole) == told(read_rows(folder / ROWS))
    assert not (folder / LEDGER).exists()  # the rows tell the same
    trained.clear()
    assert attar.evaluate(str(folder), task, seeds=[3, 1, 3], **OPTIONS) == [rows[3], rows[1], rows[3]]
    assert not trained


def test_rows_of_several_sets_go_to_their_own_folders_or_to_one(task, tmp_path, trained):
    folders = [tmp_path / str(seed) for seed in range(2)]
    for seed, folder in enumerate(folders):
        attar.condense(task, "random", 1, seed=seed, out=folder)
    attar.evaluate(folders, task, seeds=2, **OPTIONS)
    assert [[row.draw for row in read_rows(folder / ROWS)] for folder in folders] == [[0, 0], [1, 1]]
    attar.evaluate([*folders, CondensedSet.whole(task)], task, seeds=1, out=tmp_path / "all", **OPTIONS)
    assert [row.method for row in read_rows(tmp_path / "all" / ROWS)] == ["random", "random", "whole set"]
    trained.clear()
    attar.compare(task, ["random"], [1], draws=2, seeds=1, out=tmp_path / "both", **OPTIONS)
    assert len(read_rows(tmp_path / "both" / ROWS)) == 2 and trained == [0, 0]


def test_sets_with_the_same_images_share_networks_and_each_has_its_rows(task, tmp_path, trained):
    """Draws of a method that draws nothing are such."""
    sets = [attar.condense(task, "herding", 1, seed=seed) for seed in range(2)]
    rows = attar.evaluate(sets, task, seeds=2, out=tmp_path / "rows", **OPTIONS)
    assert [(row.draw, row.seed) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)] and trained == [0, 1]
    assert told(rows) == told(read_rows(tmp_path / "rows" / ROWS))


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": dataclasses.replace(QUICK, steps=9)},
        {"network": "mlp"},
        {"precision": "bf16"},
        {"data": toy(seed=1)},
        {"data": dataclasses.replace(toy(), flip=True)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_rows_of_anything_else_are_not_taken(options, folder, task, trained):
    attar.evaluate(folder, task, seeds=1, **OPTIONS)
    attar.evaluate(folder, **{"data": task, "seeds": 1, **OPTIONS, **options})
    assert trained == [0, 0]


def test_rows_of_another_set_or_of_an_earlier_version_are_not_taken(folder, task, trained):
    (row,) = attar.evaluate(folder, task, seeds=1, **OPTIONS)
    write_rows(folder / ROWS, [dataclasses.replace(row, key="")])
    attar.evaluate(folder, task, seeds=1, **OPTIONS)
    attar.condense(task, "random", 1, seed=5, out=folder, overwrite=True)
    write_rows(folder / ROWS, [row])
    attar.evaluate(folder, task, seeds=1, **OPTIONS)
    assert trained == [0, 0, 0]


def test_further_measures_of_a_row_that_is_taken_are_kept(folder, task):
    (row,) = attar.evaluate(folder, task, seeds=1, **OPTIONS)
    measured = dataclasses.replace(row, measures={"attacked": 3.0})
    write_rows(folder / ROWS, [measured])
    assert attar.evaluate(folder, task, seeds=1, **OPTIONS) == [measured] == read_rows(folder / ROWS)


def test_what_cannot_be_kept_is_said_before_anything_is_trained(folder, task, trained, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=r"rows cannot be kept in .*run, which is read-only: name another folder"):
        attar.evaluate(folder, task, seeds=1, **OPTIONS)
    monkeypatch.undo()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(ValueError, match="mine holds files that are no run's"):
        attar.evaluate(folder, task, seeds=1, out=tmp_path / "mine", **OPTIONS)
    assert not trained


@pytest.fixture
def instant(monkeypatch):
    """No training, and no waiting for a disk."""

    def test(job, tick):
        return [
            dataclasses.replace(row, per_class=(1.0, 2.0, 3.0), accuracy=2.0, train_seconds=0.0) for row in job.rows
        ]

    monkeypatch.setattr(jobs, "train_and_test", test)
    monkeypatch.setattr("attar.evaluation.evaluate.evaluation_flop", lambda *_: 1)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("earlier", [True, False], ids=["more rows", "first rows"])
def test_an_evaluation_that_fails_anywhere_loses_no_earlier_row_and_goes_on(fault, earlier, task, tmp_path, instant):
    made = attar.condense(task, "random", 1)

    def seeds(folder):
        return [row.seed for row in read_rows(folder / ROWS)]

    def evaluate(folder):
        attar.evaluate(made, task, seeds=2, out=folder, **OPTIONS)

    attar.evaluate(made, task, seeds=1, out=tmp_path / "left", **OPTIONS)
    shutil.copytree(tmp_path / "left", tmp_path / "count")
    steps, ended = count_steps(lambda: evaluate(tmp_path / "count")), set()
    for at in range(steps):
        folder = tmp_path / str(at)
        if earlier:
            shutil.copytree(tmp_path / "left", folder)
        with suppress(*RAISED), failing(at, FAULTS[fault](at)):
            evaluate(folder)
        found = seeds(folder)
        assert found == list(range(len(found))) and (found or not earlier)
        ended.add(len(found))
        evaluate(folder)
        assert seeds(folder) == [0, 1]
    assert ended == ({1, 2} if earlier else {0, 1, 2})


@pytest.mark.parametrize(("methods", "whole"), [(["dim", "random"], False), (["dim"], True)])
def test_what_gives_no_fresh_images_is_refused_before_anything_is_condensed(methods, whole, tmp_path):
    with pytest.raises(ValueError, match=r"draws images of a generator, which (random|the whole set) does not give"):
        attar.compare(toy(), methods, [1], protocol="dim", whole=whole, out=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_sets_of_different_generators_are_not_averaged():
    made = attar.condense(toy(), "random", 1)
    own, mine = (
        variant(dataclasses.replace(made, provenance=made.provenance | {"generator": name})) for name in ("own", "mine")
    )
    assert variant(made) == own != mine
