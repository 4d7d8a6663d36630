"""Tables all the way: every method, judged, compared, reported, stored and resumed like images."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

import attar
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.run import Run
from attar.files import read_json
from attar.methods import list_names
from attar.methods.distribution.dm import DM
from attar.rng import Rng
from attar.runs.recipe import PLAIN, resolve
from attar.training.protocol import DSA, PROTOCOLS, Protocol, about

SHORT = Protocol("short", "for tests", 80, 256, "half", DSA, cutmix=0.5)
LEARNED = [name for name in list_names() if hasattr(resolve(name, "toy", None, {}).method, "updates")]


def clouds(n: int = 30, d: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping classes, a cloud each."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.normal(0, 1, (n, d))
    x[:, 0] += 3 * y
    x[:, 1] -= 2 * (y == 1)
    return x * 40 + 1000, y


@pytest.fixture
def task() -> Task:
    return load_data((*clouds(), *clouds(seed=1)), name="clouds")


@pytest.fixture
def wine() -> Task:
    data = load_wine()
    return load_data((data.data, data.target_names[data.target]), name="wine")


def few(name: str) -> dict:
    """The hyper-parameters of the recipe for toys, with what tables cannot have left to the recipe."""
    return {key: value for key, value in vars(resolve(name, "toy", 2, {}).method).items() if key not in PLAIN}


@pytest.mark.parametrize("name", [*LEARNED, "random", "herding", "k-center"])
def test_every_method_condenses_a_table(name, task, tmp_path):
    settings = few(name) if name in LEARNED else {}
    made = attar.condense(task, name, 2, out=tmp_path / "run", **settings)
    assert made.images.shape == (6, 2, 1, 1) and made.images.isfinite().all() and made.columns == task.columns
    values = made.provenance["hyperparameters"]
    assert all(values.get(key, plain) == plain for key, plain in PLAIN.items())
    again = attar.load(tmp_path / "run")
    assert torch.equal(again.images, made.images) and again.columns == made.columns


def test_what_was_learned_beats_random_rows():
    """By a protocol whose augmentation is left out, which its rows say."""
    task = load_data((*clouds(90, 10), *clouds(90, 10, seed=1)), name="clouds")

    def judge(name: str) -> float:
        sets = [attar.condense(task, name, 1, seed=seed) for seed in range(4)]
        rows = attar.evaluate(sets, task, protocol=SHORT, seeds=1)
        assert {(row.protocol, row.network) for row in rows} == {("short-plain", "MLP")}
        return float(np.mean([row.accuracy for row in rows]))

    assert judge("m3d") > judge("random") + 2


def test_the_default_method_suits_tables(task, caplog):
    made = attar.condense(task, ipc=1, updates=2)
    assert made.provenance["method"] == "m3d" and "with its recipe for digits" in caplog.text
    assert any("augment=''" in source for source in made.provenance["recipe"])


@pytest.mark.parametrize(("key", "value"), [("factor", 2), ("augment", "color"), ("cutmix", 0.5)])
def test_tiles_and_augmentation_are_refused(key, value, task):
    why = "rows of a table hold no tiles, and are neither augmented nor whitened"
    told = f"{key} is {value!r}, but {why}: {key}={PLAIN[key]!r} suits them"
    with pytest.raises(ValueError, match=told):
        attar.condense(task, "idc", 1, **{key: value})
    assert attar.condense(task, "idc", 1, **(few("idc") | {key: PLAIN[key]})).factor == 1


def test_a_method_called_by_itself_does_not_augment_rows(task):
    with pytest.raises(
        ValueError, match=r"augment is 'color.*', but rows of a table are not augmented: leave it empty"
    ):
        DM(updates=1)(task, 1, Run(Rng.of(0)))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_without_augmentation_say_so(name):
    plain = PROTOCOLS[name].plain()
    assert not plain.augment.names and not plain.cutmix and plain.plain() is plain
    changed = bool(PROTOCOLS[name].augment.names)
    assert plain.name == f"{name}-plain" if changed else plain is PROTOCOLS[name]
    assert about(plain.name) == plain.about and ("here without augmentation" in plain.about) is changed


def test_a_plan_says_that_rows_are_not_augmented(task):
    told = str(attar.plan(task, "m3d", 1))
    assert "30 rows of 3 classes" in told and "rows of a table are not augmented" in told and "mirror" not in told


def test_a_table_is_written_in_its_own_units(wine, tmp_path):
    attar.condense(wine, "random", 2, out=tmp_path / "run")
    with (tmp_path / "run" / "table.csv").open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    assert head == [*(c.name for c in wine.columns), "label"] and len(lines) == 6
    known = {tuple(row) for row in load_wine().data.tolist()}
    assert all(tuple(map(float, line[:-1])) in known for line in lines)
    assert [line[-1] for line in lines] == [name for name in wine.classes for _ in range(2)]
    assert not (tmp_path / "run" / "contact.png").exists() and not (tmp_path / "run" / "images").exists()
    assert "table.csv" in read_json(tmp_path / "run" / "recipe.json")["files"]
    assert len(load_data(f"table:{tmp_path / 'run' / 'table.csv'}", split="held-out").classes) == 3


def test_a_set_of_images_in_place_of_a_table(wine, task, tmp_path):
    images = load_data("digits")
    for data, found, gone in ((images, "contact.png", "table.csv"), (task, "table.csv", "contact.png")):
        attar.condense(data, "random", 1, out=tmp_path / "run", overwrite=True)
        assert (tmp_path / "run" / found).exists() and not (tmp_path / "run" / gone).exists()


def test_a_set_is_judged_on_other_rows_without_its_data(task, tmp_path):
    attar.condense(task, "random", 3, out=tmp_path / "run")
    x, y = clouds(60, seed=2)
    (row,) = attar.evaluate(tmp_path / "run", test=(x, y), protocol=SHORT, seeds=1)
    assert row.network == "MLP" and row.accuracy > 60
    with pytest.raises(ValueError, match="the test table lacks the column 'x1'"):
        attar.evaluate(tmp_path / "run", test=(x[:, :1], y))


def test_sets_of_other_columns_are_refused(task, tmp_path):
    made = attar.condense(task, "random", 1)
    x, y = clouds()
    with pytest.raises(
        ValueError, match="the set's columns are not those of arrays: they have other names, or were sc"
    ):
        attar.evaluate(made, (2 * x, y, x, y))
    with pytest.raises(ValueError, match="a table has no 8-bit images"):
        attar.evaluate(made, task, eight_bit=True, seeds=1)


def test_a_comparison_and_its_page(wine, tmp_path):
    sets, rows = attar.compare(wine, ["m3d", "random"], [1], out=tmp_path / "all", protocol="quick", seeds=1)
    assert {row.protocol for row in rows} == {"quick-plain"} and sets[0].columns == wine.columns
    page = attar.write_report(tmp_path / "page.html", sets, rows, wine).read_text(encoding="utf-8")
    for told in (
        "The rows",
        "quick-plain, 300",
        "For a first look",
        "random real rows",
        "here without augmentation",
    ):
        assert told in page, told
    assert "<img" not in page and " images" not in page.replace("quick-plain", "")


def test_sets_in_a_file_name_their_columns_and_others_have_none(task, tmp_path):
    from safetensors import safe_open

    attar.condense(task, "random", 1, out=tmp_path / "table")
    attar.condense("digits", "random", 1, out=tmp_path / "images")
    for name, known in (("table", True), ("images", False)):
        with safe_open(tmp_path / name / "condensed.safetensors", "pt") as file:
            assert ("columns" in json.loads(file.metadata()["attar"])) is known
