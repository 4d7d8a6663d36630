"""An audit is one small class: it is planned first, kept, resumed, and has controls beside each set."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import narrow

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.engine.ledger import read_ledger
from attar.engine.run import silent
from attar.evaluation.audits.frame import Audit, Bench
from attar.evaluation.audits.measures import Measure, read_measures, tabulate_measures, write_measures
from attar.evaluation.audits.privacy import Private
from attar.evaluation.audits.trained import list_trained, read_network, train_pieces
from attar.files import read_tensors
from attar.networks.architectures import MLP
from attar.networks.network import Network
from attar.rng import CPU
from attar.runs.audit import list_subjects, measure_all
from attar.training.protocol import Protocol

BRIEF = Protocol("brief", "for tests", 2, 64, "half")
CALLS: list[str] = []


@dataclass(frozen=True)
class Bright(Audit):
    """How bright the images are as networks see them."""

    name: ClassVar[str] = "bright"
    times: int = 1

    def networks(self, subject, bench):
        return train_pieces(subject, bench)

    def pieces(self, subject, bench):
        work = partial(measure_brightness, subject.train.path, self.times)
        return [subject.piece(bench, "brightness", work, recipe=(self.times,), seed=0, cost=0)]

    def measures(self, found, bench):
        for subject in found:
            for trained in list_trained(subject, bench):
                read_network(trained, CPU)
        return [subject.measure(self.name, "mean", one["mean"]) for subject, (one,) in found.items()]


def measure_brightness(path: Path, times: int, tick) -> dict:
    CALLS.append(path.name)
    tick()
    return {"mean": times * read_tensors(path)[0]["x"].mean().item()}


def run(task, folder: Path, passing: Path, audit: Audit) -> list[Measure]:
    passing.mkdir(exist_ok=True)
    bench = Bench(task, BRIEF, (0, 1), passing, condense=lambda made, data, seed: made)
    made = attar.condense(task, "dm", 2, updates=1)
    return measure_all([audit], list_subjects([made], [folder], folder / "shared", bench), bench, silent)


def test_controls_stand_beside_a_set_and_what_is_done_is_kept(task, tmp_path):
    task = narrow(task)
    CALLS.clear()
    first = run(task, tmp_path / "run", tmp_path / "a", Bright())
    assert [one.method for one in first] == ["dm", "random", "whole set"]
    assert [one.set_images for one in first] == [6, 6, 72]
    assert len(CALLS) == 3
    networks = list((tmp_path / "run" / "audit").glob("*.safetensors"))
    assert len(networks) == 2  # one for each seed; those of the controls lie apart
    assert len(list((tmp_path / "run" / "shared" / "audit").glob("*.safetensors"))) == 3  # one of the whole set
    assert {entry.state for entry in read_ledger(tmp_path / "run" / "audit").values()} == {"done"}
    assert run(task, tmp_path / "run", tmp_path / "b", Bright()) == first
    assert len(CALLS) == 3
    run(task, tmp_path / "run", tmp_path / "c", Bright(times=2))
    assert len(CALLS) == 6


def test_networks_that_cannot_be_told_from_others_are_not_kept(task, tmp_path):
    task = dataclasses.replace(task, network=Network(lambda: MLP(task.shape, 3)))
    run(task, tmp_path / "run", tmp_path / "a", Bright())
    names = {path.name for path in (tmp_path / "a").glob("*.safetensors")}
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    run(task, tmp_path / "run", tmp_path / "b", Bright())
    other = {path.name for path in (tmp_path / "b").glob("*.safetensors")}
    assert len(names - other) == 5  # nor are results that are kept by their names found again


def test_a_damaged_result_is_found_anew(task, tmp_path):
    task = narrow(task)
    first = run(task, tmp_path / "run", tmp_path / "a", Bright())
    (kept,) = (path for path in (tmp_path / "run" / "audit").glob("*.json") if path.name != "pieces.json")
    kept.write_text(kept.read_text().replace("mean", "main"))
    assert run(task, tmp_path / "run", tmp_path / "b", Bright()) == first


def test_measures_are_written_read_and_replaced(tmp_path):
    one = Measure("robust", "accuracy", 50.0, 40.0, 60.0, "%", data="toy", method="dm", ipc=1, trained="dm")
    control = Measure("robust", "accuracy", 20.0, data="toy", method="random", ipc=1, trained="dm")
    path = tmp_path / "audit.json"
    write_measures(path, [one, control])
    write_measures(path, [control])
    assert sorted(read_measures(path), key=lambda row: row.method) == [one, control]
    (table,) = tabulate_measures([one, control])
    assert table.subjects == ["dm, 1 per class", "random, 1 per class"]
    assert [cell.text for cell in table.lines["accuracy"]] == ["50.0 % (40.0 to 60.0)", "20.0"]
    hardened = Measure("robust", "accuracy", 1.0, data="toy", method="dm", ipc=1, trained="dm, hardened")
    assert len(tabulate_measures([one, hardened])) == 2  # never in one table


def test_a_damaged_file_of_measures_is_named(tmp_path):
    path = tmp_path / "audit.json"
    write_measures(path, [Measure("robust", "accuracy", 1.0)])
    path.write_text(path.read_text().replace("1.0", "2.0"))
    with pytest.raises(ValueError, match=r"audit.json is damaged: its measures do not match"):
        read_measures(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="does not hold measures of an audit"):
        read_measures(path)


@pytest.mark.parametrize(
    "options, told",
    [
        ({}, "say what to audit"),
        ({"protocol": "datm"}, "the protocol datm takes what was learned besides images"),
        ({"protocol": "frepo"}, "the protocol frepo takes what was learned besides images"),
        ({"private": Private(protocol="dd")}, "the protocol dd takes what was learned besides images"),
        ({"seeds": 0}, "at least one seed"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(options, told, task):
    with pytest.raises(ValueError, match=told):
        attar.audit(CondensedSet.whole(task), task, **({} if not options else {"robust": True} | options))
