"""As many updates as fit into a time, and whose recipe a method named for own data takes."""

import re

import pytest
from conftest import toy

import attar
from attar.engine.run import Run
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.dm import DM
from attar.rng import Rng
from attar.runs import condense as module
from attar.runs import plan as plans
from attar.runs.default_method import choose_recipe
from attar.runs.plan import Plan, fit_updates
from attar.runs.recipe import resolve


def planned(seconds=0.0, updates=0, each=0.0):
    return Plan("data", "method", 1, float(seconds), 0, 0, compiles=False, updates=updates, each=float(each))


def forecast_of(before, each):
    """A forecast in which an update takes `each` seconds, after `before` seconds of other things."""
    return lambda method, *_: planned(before + method.updates * each, method.updates, each)


@pytest.mark.parametrize("before, each, minutes, fits", [(0, 1, 1, 60), (30, 0.5, 1, 60), (0, 7, 0.5, 4)])
def test_what_is_left_of_a_time_is_for_updates(before, each, minutes, fits, monkeypatch):
    monkeypatch.setattr(plans, "forecast", forecast_of(before, each))
    assert fit_updates(DM(), toy(), 1, Run(Rng.of(0)), float(minutes)) == fits


@pytest.mark.parametrize(
    "method, told",
    [
        (DM(), "minutes is 1, but DM takes about 1 min 31 s until its first update is made$"),
        (DANCE(), "no networks first$"),
    ],
)
def test_a_time_that_is_over_before_the_first_update(method, told, monkeypatch):
    monkeypatch.setattr(plans, "forecast", forecast_of(90, 1))
    with pytest.raises(ValueError, match=told):
        fit_updates(method, toy(), 1, Run(Rng.of(0)), 1.0)


def test_the_number_that_fits_is_that_of_the_run(task, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "fit_updates", lambda *_: 3)
    made = attar.condense(task, "dm", 1, minutes=2, out=tmp_path / "run", batch_real=4)
    assert made.provenance["hyperparameters"]["updates"] == 3
    assert "3 updates, to take 2 min" in made.provenance["recipe"] and "3 updates, as many as fit" in caplog.text
    assert "3 updates" in attar.plan(task, "dm", 1, minutes=2).method
    monkeypatch.setattr(module, "fit_updates", lambda *_: pytest.fail("measured again"))
    again = attar.condense(task, "dm", 1, minutes=2, out=tmp_path / "run", batch_real=4, resume=True)
    assert again.images.equal(made.images)


@pytest.mark.parametrize(
    "method, minutes, settings, told",
    [
        ("random", 5, {}, "minutes fits the number of updates to a time, but Random makes none"),
        ("dm", 0, {}, "minutes must be a number above 0, not 0"),
        ("dm", float("inf"), {}, "minutes must be a number above 0, not inf"),
        ("dm", 5, {"updates": 7}, "minutes and updates both say how long to run"),
    ],
)
def test_minutes_that_cannot_be_kept(method, minutes, settings, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        attar.condense("no data is read for this", method, minutes=minutes, **settings)


def test_a_plan_of_over_half_an_hour_says_what_is_quicker():
    assert "quicker" not in str(planned(1800, 100, 18))
    assert "--minutes 10 makes as many updates as fit, about 30 of 100" in str(planned(2000, 100, 20))
    assert "another method" in str(planned(2000, 100, 1)) and "another method" in str(planned(2000))


@pytest.mark.parametrize("channels, side, like", [(1, 8, "digits"), (1, 28, "mnist"), (3, 64, "cifar10")])
def test_own_data_takes_the_recipe_of_the_nearest_known_data(channels, side, like, caplog):
    task = toy(channels, side, name="mine")
    assert choose_recipe(task, "m3d") == like
    assert f"method m3d has no recipe for mine, and takes that for {like}, the most similar data" in caplog.text
    assert choose_recipe(task, "random") == "mine"  # nobody has one
    assert choose_recipe(toy(channels, side, name="svhn"), "m3d") == "svhn"
    made = attar.plan(toy(channels, side, name="mine"), "dm", 1, updates=1, published=True, factor=1)
    assert made.updates == 1 < resolve("dm", like, 1, {}).method.updates
