"""Arguments of public functions: what means the same is the same, and all else one sentence before any work."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import attar
from attar.training.protocol import PROTOCOLS


@pytest.fixture
def nothing_runs(monkeypatch):
    """Data is not even read."""
    for module in ("runs.condense", "runs.compare", "evaluation.judged_on"):
        monkeypatch.setattr(f"attar.{module}.load_data", None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ipc": "1"}, "ipc must be a whole number, not '1'"),
        ({"ipc": 1.5}, "ipc must be a whole number, not 1.5"),
        ({"minutes": "5"}, "minutes must be a number, not '5'"),
        ({"minutes": True}, "minutes must be a number, not True"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"seed": "x" * 1000}, "seed must be a whole number, not 'xxxxxxxxxxxx...xxxxxxxxxxxxx'"),
        ({"out": 5}, "out must be a path, not 5"),
        ({"out": "~nobody-of-that-name/x"}, "out is ~nobody-of-that-name/x, but there is no such home folder"),
        ({"method": 5}, "method must be a name, not 5"),
        ({"method": "m3"}, "unknown method 'm3', did you mean 'm3d'?"),
        ({"method": "dm", "lrr": 1}, "unknown hyper-parameter of DM 'lrr', did you mean 'lr'?"),
        ({"progress": 5}, "progress must be a function, not 5"),
        ({"progress": lambda: None}, "progress must be a function of 3 values, not <function"),
        ({"compile": "maybe"}, "unknown compile 'maybe'; known: auto, on, off"),
        ({"precision": 32}, "unknown precision '32', did you mean 'tf32'? known: fp32, tf32, bf16"),
        ({"device": 5}, "device must be a name or a device, not 5"),
        ({"published": "yes"}, "published must be True or False, not 'yes'"),
        ({"network": 5}, "network must be a name, not 5"),
    ],
)
def test_condense_and_plan_refuse_before_any_work(options, sentence, nothing_runs):
    only_condense = options.keys() & {"out", "progress"}
    for function in [attar.condense] if only_condense else [attar.condense, attar.plan]:
        with pytest.raises(ValueError) as refusal:
            function("digits", **options)
        assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": 1.5}, "seeds must be a whole number or a list of whole numbers, not 1.5"),
        ({"seeds": "3"}, "seeds must be a whole number or a list of whole numbers, not '3'"),
        ({"seeds": range(10**12)}, "seeds lists more than 100,000 values"),
        ({"seeds": itertools.count()}, "seeds lists more than 100,000 values"),
        ({"seeds": [0, 1.5]}, "seeds must be a whole number, not 1.5"),
        ({"seeds": 0}, "evaluation needs at least one seed"),
        ({"seeds": 10**30}, "evaluation takes at most 100,000 seeds"),
        ({"protocol": 5}, "protocol must be a name or a Protocol, not 5"),
        ({"soft": 1}, "soft must be True or False, not 1"),
        ({"sets": 5}, "sets must be a CondensedSet or a path or a list of these, not 5"),
        ({"sets": [5]}, "sets must be a CondensedSet or a path, not 5"),
    ],
)
def test_evaluate_refuses_before_any_work(options, sentence, nothing_runs):
    with pytest.raises(ValueError) as refusal:
        attar.evaluate(**{"sets": "nowhere", "data": "digits", **options})
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"methods": "dm"}, "methods must be a list of names, not 'dm'"),
        ({"ipc": 5}, "ipc must be a list of whole numbers, not 5"),
        ({"draws": "2"}, "draws must be a whole number, not '2'"),
        ({"watch": 5}, "watch must be a function, not 5"),
    ],
)
def test_compare_refuses_before_any_work(options, sentence, nothing_runs):
    with pytest.raises(ValueError) as refusal:
        attar.compare("digits", **options)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"episode": 5}, "episode must be a function, not 5"),
        ({"syn": torch.ones(2)}, "syn must be a Module, not tensor("),
        ({"opt": "adam"}, "opt must be an Optimizer, not 'adam'"),
        ({"updates": 1.5}, "updates must be a whole number, not 1.5"),
        ({"run": None}, "run must be a Run, not None"),
        ({"schedule": 0.1}, "schedule must be a function, not 0.1"),
        ({"state": {}}, "state must be a Module, not {}"),
    ],
)
def test_the_loop_refuses_before_any_work(options, sentence):
    syn = torch.nn.Linear(1, 1)
    given = {"syn": syn, "opt": torch.optim.SGD(syn.parameters(), 1), "updates": 1}
    with pytest.raises(ValueError) as refusal:
        attar.optimise(**{**given, "episode": lambda syn, rng: iter(()), "run": attar.Run(attar.Rng.of(0)), **options})
    assert str(refusal.value).startswith(sentence)


def test_a_seed_of_any_type_is_the_same_seed(task, tmp_path):
    sets = [
        attar.condense(task, "random", 1, seed=seed, out=tmp_path / str(i))
        for i, seed in enumerate([1, True, np.int64(1), np.uint8(1), torch.tensor(1)])
    ]
    assert all(torch.equal(made.images, sets[0].images) for made in sets)
    assert {repr(attar.load(tmp_path / str(i)).provenance["seed"]) for i in range(5)} == {"1"}
    assert {attar.Rng.of(seed).seed for seed in (1, True, np.int64(1))} == {attar.Rng((1,)).seed}


def test_seeds_of_any_type_are_the_same_seeds(task):
    brief = dataclasses.replace(PROTOCOLS["quick"], steps=10)
    made, options = attar.condense(task, "random", 1), {"protocol": brief, "precision": "fp32", "network": "mlp"}
    first, *others = [
        [row.per_class for row in attar.evaluate(made, task, seeds=seeds, **options)]
        for seeds in (2, np.int64(2), range(2), np.arange(2), [False, np.uint8(1)], (seed for seed in (0, 1)))
    ]
    assert all(other == first for other in others)


def test_a_home_is_found(task, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = attar.condense(task, "random", 1, out="~/run")
    assert (tmp_path / "run" / "recipe.json").exists() and not (tmp_path / "~").exists()
    assert len(attar.evaluate("~/run", task, protocol="quick", seeds=1)) == 1
    attar.save(made, "~/copy")
    assert torch.equal(attar.load("~/copy").images, made.images)
