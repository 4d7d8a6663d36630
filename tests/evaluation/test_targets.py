"""Sets whose labels were learned by regression: no probabilities, and judged as what scores should be."""

import dataclasses

import pytest
import torch
from conftest import narrow

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.distances.ridge import centred
from attar.evaluation.rows import read_rows, summarise
from attar.training.protocol import PROTOCOLS

FREPO = dataclasses.replace(PROTOCOLS["frepo"], steps=200, lr=0.01)
CPU = {"compile": "off", "precision": "fp32"}


def test_scores_become_the_targets_and_rows_name_them(task, tmp_path):
    task = narrow(task)
    made = CondensedSet.selected(task, task.first(8))
    made = dataclasses.replace(made, provenance={"method": "frepo"})
    shifted = dataclasses.replace(made, targets=-centred((made.labels + 1) % 3, 3))
    (turned,) = attar.evaluate(shifted, task, protocol=FREPO, seeds=1, out=tmp_path, **CPU)
    (plain,) = attar.evaluate(made, task, protocol=FREPO, seeds=1, **CPU)
    assert plain.accuracy > 60 and turned.accuracy < plain.accuracy - 10
    assert (turned.targets, plain.targets, turned.soft) == (True, False, False)
    assert summarise([turned])[0].cells()[2] == "frepo (learned targets)"
    assert turned.bytes == plain.bytes + 24 * 3 * 4
    assert read_rows(tmp_path / "rows.json") == [turned]


def test_other_protocols_leave_targets_alone(task):
    task = narrow(task)
    made = CondensedSet.selected(task, task.first(2))
    quick = dataclasses.replace(PROTOCOLS["quick"], steps=3)
    both = [made, dataclasses.replace(made, targets=torch.ones(6, 3))]
    first, second = attar.evaluate(both, task, protocol=quick, seeds=1, **CPU)
    assert first.per_class == second.per_class and second.remark == "" and first.bytes == second.bytes


def test_soft_labels_are_no_targets(task):
    made = CondensedSet.selected(task, task.first(2))
    made = dataclasses.replace(made, soft=torch.full((6, 3), 1 / 3))
    with pytest.raises(ValueError, match="the protocol frepo trains on targets: leave soft out"):
        attar.evaluate(made, task, protocol="frepo", soft=True)


def test_targets_travel_with_the_set(task, tmp_path):
    made = CondensedSet.selected(task, task.first(2))
    made = dataclasses.replace(made, targets=torch.randn(6, 3))
    attar.save(made, tmp_path / "set")
    assert torch.equal(attar.load(tmp_path / "set").targets, made.targets)
    assert "targets=True" in (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
