"""Rows of an evaluation: complete, reproducible, and refused where a set is not of this data."""

import dataclasses

import pytest
import torch.nn.functional as F
from conftest import toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.evaluation.jobs import variant
from attar.files import read_tensors, write_tensors
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=8)
CPU = {"device": "cpu", "precision": "fp32"}


def test_rows_are_complete_and_reproducible(task):
    made = CondensedSet.whole(task)
    rows = attar.evaluate([made, made], task, protocol=QUICK, seeds=[3, 5], **CPU)
    assert [row.seed for row in rows] == [3, 5, 3, 5]
    assert rows[0].accuracy == rows[2].accuracy and rows[0].per_class == rows[2].per_class
    assert rows[0].accuracy == pytest.approx(sum(rows[0].per_class) / 3)
    assert (rows[0].protocol, rows[0].epochs, rows[0].split, rows[0].network) == ("quick", 8, "test set", "ConvNet")


def test_a_task_may_be_judged_by_another_network(task):
    (row,) = attar.evaluate(CondensedSet.whole(task), task, protocol=QUICK, seeds=1, network="mlp", **CPU)
    assert row.network == "MLP" and task.network.name == "ConvNet"


def test_several_networks_judge_every_set_and_each_is_trained_once(task, tmp_path, caplog):
    homes = [tmp_path / "a", tmp_path / "b"]
    for seed, home in enumerate(homes):
        attar.condense(task, "random", 1, seed=seed, out=home)
    asked = {"protocol": QUICK, "seeds": [1, 0], **CPU}
    rows = attar.evaluate(homes, task, networks=["mlp", "convnet-bn", "mlp"], **asked)
    kinds = [(network, seed) for network in ("MLP", "ConvNet-BN") for seed in (1, 0)]
    assert [(row.draw, row.network, row.seed) for row in rows] == [(draw, *kind) for draw in (0, 1) for kind in kinds]
    alone = attar.evaluate(attar.load(homes[1]), task, network="convnet-bn", **asked)
    assert [row.accuracy for row in alone] == [row.accuracy for row in rows[6:]]
    caplog.clear()
    again = attar.evaluate(homes, task, networks=["convnet-bn", "mlp"], **asked)
    assert again == [*rows[2:4], *rows[:2], *rows[6:], *rows[4:6]]
    assert "networks to train now: 0" in caplog.text


def test_a_recipes_band_is_for_the_network_that_the_set_was_condensed_with(task, caplog):
    expect = {"protocol": "quick", "accuracy": [101, 102], "source": "a table", "published": 1}
    about = {"method": "m3d", "network": "MLP", "expect": expect}
    made = dataclasses.replace(CondensedSet.whole(task), provenance=about)
    attar.evaluate(made, task, protocol=QUICK, seeds=1, networks=["convnet-bn"], **CPU)
    assert "that its recipe expects" not in caplog.text
    attar.evaluate(made, task, protocol=QUICK, seeds=1, networks=["convnet-bn", "mlp"], **CPU)
    assert caplog.text.count("that its recipe expects") == 1


@pytest.mark.parametrize(
    "options, told",
    [
        ({"network": "mlp", "networks": ["mlp"]}, "network and networks both say what is trained: leave out one"),
        ({"networks": ["mlp", "convnt"]}, "unknown network 'convnt', did you mean 'convnet'"),
        ({"networks": "vgg11"}, "VGG-11 takes images of at least 32 pixels a side, not of 8 × 8: take another network"),
    ],
)
def test_networks_that_cannot_judge_are_refused(options, told, task):
    with pytest.raises(ValueError, match=told):
        attar.evaluate(CondensedSet.whole(task), task, protocol=QUICK, seeds=1, **options, **CPU)


def test_the_test_part_is_written_once_however_many_sets_there_are(task, monkeypatch):
    """Of a large data set it is most of what processes share."""
    written = []

    def write(path, tensors, meta):
        write_tensors(path, tensors, meta)
        written.append((path.name, len(read_tensors(path)[0]["y"])))

    monkeypatch.setattr("attar.engine.staging.write_tensors", write)
    sets = [attar.condense(task, "random", 1, seed=seed) for seed in range(3)]
    rows = attar.evaluate(sets, task, protocol=QUICK, seeds=2, **CPU)
    assert len(rows) == 6 and len(task.test.y) == 60
    assert sorted(length for _, length in written) == [3, 3, 3, 60]
    assert len({name for name, _ in written}) == 4


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_learns_an_easy_task(name):
    task = toy(side=12, counts=(40, 40, 40))
    protocol = dataclasses.replace(PROTOCOLS[name], epochs=25)
    made = CondensedSet.whole(task)
    made = dataclasses.replace(made, step_size=0.01, soft=F.one_hot(made.labels, 3).float())
    (row,) = attar.evaluate(made, task, protocol=protocol, seeds=1, **CPU)
    assert row.accuracy > 80


@pytest.mark.parametrize(
    ("options", "told"),
    [({"device": "cuda:99"}, "torch finds no device"), ({"precision": "fp64"}, "unknown precision 'fp64'")],
)
def test_engines_that_python_cannot_ask_for(options, told, task, unchecked):
    with pytest.raises(ValueError, match=told):
        attar.evaluate(CondensedSet.whole(task), task, **options)


def test_refusals(task):
    made = CondensedSet.whole(task)
    with pytest.raises(ValueError, match="unknown protocol 'dn'"):
        attar.evaluate(made, task, protocol="dn")
    with pytest.raises(ValueError, match="at least one set"):
        attar.evaluate([], task)
    with pytest.raises(ValueError, match="the set of whole set, 24 per class, has no soft labels: condense with"):
        attar.evaluate(made, task, soft=True)
    with pytest.raises(ValueError, match="at least one seed"):
        attar.evaluate(made, task, seeds=0)
    with pytest.raises(ValueError, match=r"classes a, b, c are not those of toy: a, b"):
        attar.evaluate(made, toy(counts=(9, 9)))
    with pytest.raises(ValueError, match=r"images are \(1, 8, 8\), those of toy \(3, 8, 8\)"):
        attar.evaluate(made, toy(3))


def test_sets_differ_by_settings_network_data_and_precision(task):
    sets = [attar.condense(task, "random", 1, precision=precision) for precision in ("fp32", "bf16")]
    sets += [attar.condense(task, "random", 1, precision="fp32", network="mlp")]
    sets += [attar.condense(toy(seed=1), "random", 1, precision="fp32")]
    assert len({variant(made) for made in sets}) == 4
    assert variant(sets[0]) == variant(attar.condense(task, "random", 1, precision="fp32", seed=1))


def test_a_set_that_says_little_of_itself_is_judged_too(task):
    made = CondensedSet.whole(task)
    for about in ({}, {"hyperparameters": {"lr": 1}}, {"hyperparameters": {}, "engine": {}}):
        (row,) = attar.evaluate(dataclasses.replace(made, provenance=about), task, protocol=QUICK, seeds=1, **CPU)
        assert row.method == "given" and row.draw == 0
