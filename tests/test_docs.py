"""What the documentation shows is what runs, and what was measured."""

import dataclasses
import importlib
import importlib.util
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import toy

from attar.data.known_sets import DATASETS
from attar.engine.run import Run
from attar.methods import find, list_names
from attar.rng import Rng
from attar.runs.default_method import read_winners
from attar.runs.recipe import resolve
from attar.training.protocol import PROTOCOLS

HOME = Path(__file__).parents[1]


TABLES = [
    ("tables", "--summary", "README.md"),
    ("tables", "--results", "docs/results.md"),
    ("tables", "--plans", "results/quality/README.md"),
    ("speed", "--table", "results/speed/README.md"),
    ("speed", "--growth", "results/speed/README.md"),
    ("speed", "--name cpu-avx2 --table", "results/speed/README.md"),
    ("speed", "--name cpu-avx512 --table", "results/speed/README.md"),
    ("speed", "--name nvidia-h100-80gb-hbm3 --table", "results/speed/README.md"),
    ("blocks", "--table", "results/speed/README.md"),
    ("blocks", "--name blocks-avx2 --table", "results/speed/README.md"),
    ("slices", "--table", "results/speed/README.md"),
    ("slices", "--name slices-avx2 --table", "results/speed/README.md"),
    ("before_after", "--name before-after-cpu-avx512 --table", "results/speed/README.md"),
    ("search", "--table", "results/search/README.md"),
    ("race", "--table", "results/race/README.md"),
    ("agreement", "--table", "docs/numbers.md"),
    ("agreement", "--name cpu-avx2 --table", "docs/numbers.md"),
    ("ipm", "--table", "results/ipm/README.md"),
    ("peeking", "--table", "docs/numbers.md"),
    ("tesla", "--table", "docs/numbers.md"),
]


@pytest.mark.parametrize("script, words, page", TABLES)
def test_a_table_is_what_the_results_hold(script, words, page, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    module = importlib.import_module(script)
    *named, table = words.removeprefix("--name ").split()
    held = getattr(module, table.removeprefix("--"))(*(module.RESULTS / f"{name}.json" for name in named))
    assert f"benchmarks/{script}.py {words} -->\n{held}\n<!-- end -->" in (HOME / page).read_text()


@pytest.mark.parametrize("method", list_names())
def test_every_method_is_explained_with_the_settings_it_has(method, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    page, settings = (HOME / "docs" / "methods.md").read_text(), importlib.import_module("settings")
    assert f"\n| [`{method}`](#{method}) |" in page
    section = re.search(rf"\n## `{method}`\n(.*?)(\n## |\Z)", page, re.DOTALL)[1]
    if dataclasses.fields(find(method)):
        told = f"<!-- python benchmarks/settings.py --table {method} -->\n{settings.table(method)}\n<!-- end -->"
        assert told in section


def test_what_was_measured_is_what_is_shipped(monkeypatch):
    """A recipe that changes leaves its result behind.

    Settings that are newer than a result have defaults that change nothing.
    """
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    quality = importlib.import_module("quality")
    for cell in quality.CELLS:
        if cell.method == "whole":
            continue  # the whole training set: no method, and so no recipe
        path = quality.RESULTS / f"{cell.name}.json"
        # Photographs have no recipe of their own, and take that for the most similar data.
        like = cell.data if cell.data in DATASETS else "cifar10"
        today = resolve(cell.method, like, cell.ipc, cell.settings).hyperparameters
        for made in quality.read_json(path)["condensation"] if path.exists() else []:
            measured = {key: value for key, value in made["hyperparameters"].items() if key in today}
            assert measured.items() <= today.items(), cell.name


def test_what_a_gpu_is_to_measure_can_be_asked_for(monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    gpu = importlib.import_module("gpu")
    for cell in gpu.CELLS:
        settings = {key: value for key, value in cell.settings.items() if key != "published"}
        assert resolve(cell.method, cell.data, cell.ipc, settings, published=True).method
    commands = gpu.pieces(HOME)
    assert all(Path(command[0]).is_file() for name, command in commands.items() if name != "tests")
    assert {path.name for path in gpu_paths(commands)} == {
        path.name for path in importlib.import_module("courses").paths()
    }


def gpu_paths(commands):
    paths = importlib.import_module("courses").paths()
    return [
        path
        for command in commands.values()
        for path in paths
        if "--only" in command and fnmatch(path.name, command[-1])
    ]


@pytest.mark.parametrize("name", ["cpu", "cpu-avx2"])
def test_nothing_is_faster_than_the_machine(name, monkeypatch):
    """A path above the ceiling has its work counted wrong."""
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    speed = importlib.import_module("speed")
    records = speed.read_json(speed.RESULTS / f"{name}.json")["paths"]
    work = {path.name: path.flop for path in speed.paths()}
    assert all(record["flop"] == work[record["path"]] and speed.share(record, records) < 1 for record in records)


def test_nothing_is_added_to_what_another_machine_measured(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    quality, out = importlib.import_module("quality"), tmp_path / "cpu.json"
    quality.write_json(out, quality.kept(out, "cpu", {"paths": []}))
    assert quality.kept(out, "cpu", {}) == {"machine": quality.machine(), "paths": []}
    quality.write_json(out, {"machine": quality.machine() | {"cores": 99}, "paths": []})
    with pytest.raises(SystemExit, match=r"measured with cores = 99, here it is \d+: name another file with --name"):
        quality.kept(out, "cpu", {})
    assert quality.kept(out, "cuda", {})["paths"] == []  # whose speed is that of the GPU


def test_a_turn_is_one_of_each_side_beside_the_ceilings(monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    turns, said = importlib.import_module("turns"), []
    monkeypatch.setattr(turns, "ceilings", lambda device: said.append(device) or {"fp32": [1.0]})
    sides = [SimpleNamespace(device="cpu", turn=lambda name=name: said.append(name)) for name in ("ours", "literal")]
    assert turns.take_turns(sides, 0.0) == [{"fp32": [1.0]}] and said == ["cpu", "ours", "literal"]


def test_few_turns_do_not_say_how_near_products_of_the_same_turn_are(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    speed = importlib.import_module("speed")
    record = speed.read_json(speed.RESULTS / "cpu.json")["paths"][0] | {"share beside": 0.987}
    for turns, told in ((speed.FEW - 1, False), (speed.FEW, True)):
        speed.write_json(tmp_path / "few.json", {"paths": [record | {"turns": turns}]})
        assert (", 99 % |" in speed.table(tmp_path / "few.json")) == told


@pytest.mark.parametrize("path", ["train", "literal_train"])
def test_training_can_be_timed(path, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    courses = importlib.import_module("courses")
    monkeypatch.setattr(courses, "STEPS", 1)

    def tick():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        courses.FUNCTIONS[path](ipc=1, networks=1, run=Run(Rng.of(0), compile="off"), tick=tick)


def test_what_is_taken_by_default_won_its_race(monkeypatch):
    """In which all ran with today's recipes, for as many updates as there was time for."""
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    race = importlib.import_module("race")
    for path in race.RESULTS.glob("*.json"):
        record = race.read_json(path)
        for entry in record["found"]:
            own = entry["hyperparameters"]
            settings = (
                {"updates": own["updates"]}
                if "updates" in own
                else {key: own[key] for key in race.TRAINED if key in own}
            )
            today = resolve(entry["method"], record["data"], record["ipc"], settings).hyperparameters
            assert {key: value for key, value in own.items() if key in today}.items() <= today.items(), entry["method"]
    assert race.WINNERS.read_text() == race.winners()
    for budgets in read_winners().values():
        assert all(int(ipc) > 0 and best["method"] in list_names() and best["why"] for ipc, best in budgets.items())


def test_the_example_method_is_the_one_that_is_shipped_and_runs(tmp_path):
    page = (HOME / "docs" / "extending.md").read_text()
    name, source = re.search(r"<!-- (src/attar/methods/\S+\.py) -->\n```python\n(.*?)```", page, re.DOTALL).groups()
    assert source == (HOME / name).read_text()
    path = tmp_path / "example.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("example", path)
    module = sys.modules["example"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    methods = module.DM(updates=3, batch_real=8), find(Path(name).stem)(updates=3, batch_real=8)
    made, shipped = (method(toy(counts=(80, 80)), 2, Run(Rng.of(0))) for method in methods)
    assert made.images.shape[0] == 4 and made.images.equal(shipped.images)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_explained(name):
    assert f"| `{name}` |" in (HOME / "docs" / "numbers.md").read_text()


def test_example_network(task):
    from attar.networks.by_name import make_network

    family = make_network(f"{HOME}/examples/own_network.py:Small", task.shape, 3)
    assert family.features(family.init(Rng.of(0)), task.normalise(task.train.x[:2])).shape == (2, 512)


def test_two_samples_of_one_distribution_are_told_apart_by_nothing(monkeypatch):
    """What `benchmarks/ipm.py` says of two samples: of the same gaussian, of a shifted one, and of a wider one."""
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    compared = importlib.import_module("ipm").compared
    x, y = torch.randn(2, 200, 5, generator=Rng.of(0).generator())
    same, shifted, wider = (compared(s, y, Rng.of(1)) for s in (x, x + 1, 3 * x))
    assert same["mean"] < 0.02 and abs(same["variance"] - 1) < 0.1 and abs(same["rank"] - 1) < 0.05
    assert 40 < same["neighbour"] < 60 and same["p"] > 0.05
    assert abs(shifted["mean"] - 1) < 0.3 and shifted["neighbour"] > 60 and shifted["p"] < 0.01
    assert abs(wider["variance"] - 9 * same["variance"]) < 1e-6 and wider["p"] < 0.01
