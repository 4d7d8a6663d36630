"""What a plan counts is what a run does; how long it takes is measured elsewhere."""

import itertools

import pytest

import attar
from attar.engine.run import Run
from attar.methods._views import View
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.dm import DM
from attar.methods.distribution.idm import IDM
from attar.methods.distribution.m3d import M3D
from attar.methods.distribution.ncfm import NCFM
from attar.methods.selection.herding import Herding
from attar.methods.selection.random import Random
from attar.rng import Rng
from attar.runs import plan as module
from attar.runs.plan import Enough, Pace, forecast
from attar.synthesis.checkpoint import CHECKPOINT


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(module, "CALIBRATION", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """Seconds at which the pace is asked."""
    times = []
    monkeypatch.setattr(module.time, "perf_counter", lambda: times.pop(0))
    return times


def test_work_is_counted_by_forwards(task):
    image = task.network.flop(task.shape)
    made = forecast(DM(updates=50, batch_real=8), task, 2, Run(Rng.of(0)))
    assert made.flop == 50 * 3 * (8 + 2 * 2) * image
    kept = forecast(M3D(updates=50, batch_real=10, ipm=5, keep_real=True, factor=1), task, 2, Run(Rng.of(0)))
    assert kept.flop == 50 * 3 * (10 / 5 + 2 * 2) * image


def test_what_takes_long_is_compiled(task):
    long = forecast(DM(updates=10**9), task, 1, Run(Rng.of(0)))
    assert long.compiles and not forecast(DM(updates=10**9), task, 1, Run(Rng.of(0), compile="off")).compiles
    assert not forecast(DM(updates=10), task, 1, Run(Rng.of(0))).compiles
    assert "compiled" in str(long) and "TFLOP" in str(long)


def test_the_pace_is_that_of_the_updates_after_the_first(monkeypatch, clock):
    clock += [10.0, 10.5, 13.0]
    monkeypatch.setattr(module, "CALIBRATION", 2.0)
    pace = Pace()
    pace(1, 100, 0.0)
    pace(2, 100, 0.0)
    with pytest.raises(Enough):
        pace(7, 100, 0.0)
    assert pace.rest == pytest.approx(93 / 2)  # six updates in three seconds


@pytest.mark.parametrize("seconds, seen", [([0.1, 0.1, 0.1, 0.1], 3), ([0.1, 0.9, 0.1, 0.9, 0.1], 4)])
def test_updates_that_differ_are_watched_for_longer(monkeypatch, clock, seconds, seen):
    clock += itertools.accumulate(seconds, initial=0.0)
    monkeypatch.setattr(module, "CALIBRATION", 0.25)
    pace, done = Pace(), 0
    with pytest.raises(Enough):
        for done in range(1, len(seconds) + 2):
            pace(done, 100, 0.0)
    assert done == seen + 1


def test_the_pace_is_that_of_whole_cycles(monkeypatch, clock):
    clock += [0.0, 1.0, 1.5, 2.0, 4.0]
    monkeypatch.setattr(module, "CALIBRATION", 1.2)
    pace = Pace(cycle=4)
    for done in (1, 2, 3, 4):
        pace(done, 101, 0.0)
    with pytest.raises(Enough):
        pace(5, 101, 0.0)
    assert pace.rest == pytest.approx(96)  # four updates in four seconds


@pytest.mark.parametrize("kind", [DANCE, NCFM])
def test_networks_to_train_first_are_planned_for(kind, task, monkeypatch, tmp_path):
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))
    method, image = kind(updates=50, models=3, epochs=4, batch_real=8, factor=1), task.network.flop(task.shape)
    training = 3 * 4 * len(task.train.y) * image
    matching = 50 * 3 * (8 + 2 + 2) * image
    assert forecast(method, task, 1, Run(Rng.of(0))).flop == 3 * training + matching
    method(task, 1, Run(Rng.of(0)))
    assert forecast(method, task, 1, Run(Rng.of(0))).flop == matching


def test_a_plan_is_that_of_its_seed(task):
    attar.condense(task, "herding", 1, seed=5, epochs=1)
    again, other = (attar.plan(task, "herding", 1, seed=seed, epochs=1).flop for seed in (5, 6))
    assert other == again + 3 * len(task.train.y) * task.network.flop(task.shape)


@pytest.mark.parametrize("calibration, asked", [(0.5, 6), (0.0, 0)])
def test_judges_are_asked_also_before_they_have_learned_anything(calibration, asked, task, monkeypatch):
    """A plan is made then: all these updates are under one network, fresh like the rest of the pool."""
    scores = []
    monkeypatch.setattr(View, "cross_entropy", lambda view, *_: scores.append(1) or view.source.syn.images.sum())
    IDM(updates=6, ipm=6, calibration=calibration, batch_real=4, factor=1)(task, 1, Run(Rng.of(0)))
    assert len(scores) == asked


@pytest.mark.parametrize(
    "method", [Random(), Herding(epochs=1), DM(updates=3, batch_real=4)], ids=["random", "herding", "dm"]
)
def test_a_plan_writes_nothing(method, task, tmp_path):
    made = forecast(method, task, 2, Run(Rng.of(0), tmp_path))
    assert not list(tmp_path.iterdir())
    assert made.seconds > 0 and made.memory > 2**20
    assert made.disk == 2 * 3 * 64 * (22 if isinstance(method, DM) else 6)


@pytest.mark.parametrize("settings", [{}, {"optimiser": "adam"}, {"average": 0.9}], ids=["sgd", "adam", "average"])
def test_the_checkpoint_is_planned_for(settings, task, tmp_path):
    """With the pool of IDM, most of it."""
    method = IDM(updates=8, batch_real=4, batch_train=4, capacity=3, learners=1, steps=1, ipm=2, factor=1, **settings)

    def stop(done, total, loss):
        if done == 7:
            raise KeyboardInterrupt

    disk = forecast(method, task, 2, Run(Rng.of(0))).disk
    with pytest.raises(KeyboardInterrupt):
        method(task, 2, Run(Rng.of(0), tmp_path, progress=stop))
    size = 2 * (tmp_path / CHECKPOINT).stat().st_size + 2 * 3 * 64 * 6  # with the one before
    assert size * 0.9 < disk <= size
