"""Which method attar takes where none is named: what a race of methods says, and what it may not say."""

import importlib
import tomllib
from pathlib import Path

import pytest

from attar.methods import list_names

HERE = {"cpu": "this one", "cores": 2}
ELSEWHERE = {"cpu": "another", "cores": 2}


@pytest.fixture
def race(tmp_path, monkeypatch):
    """The module, with results and winners of its own."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    module = importlib.import_module("race")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "WINNERS", tmp_path / "best.toml")
    return module


def entry(method, accuracy, *, seconds=60.0, machine=HERE, **more):
    return {
        "method": method,
        "budget": 60.0,
        "seconds": seconds,
        "accuracies": [accuracy - 1, accuracy + 1],
        "machine": machine,
        **more,
    }


def choose(race, *found):
    """What `--choose` makes of a race on digits at one image a class: method and reason, `None` without a winner."""
    race.write_json(race.RESULTS / "digits-ipc1.json", {"data": "digits", "ipc": 1, "found": list(found)})
    race.main(choose=True)
    best = tomllib.loads(race.WINNERS.read_text()).get("digits", {}).get("1", {})
    return best.get("method"), best.get("why")


def reign(race, method):
    """Makes it the champion of that race."""
    race.WINNERS.write_text(f'[digits.1]\nmethod = "{method}"\nwhy = "it was before"\n')


def test_a_winner_is_told_with_what_came_next(race):
    method, why = choose(race, entry("m3d", 97.0, go="a"), entry("dm", 95.0, go="a", seconds=20.0))
    assert method == "m3d"
    assert why == "97.0 % of held-out images after 1 min, of 2 methods; next dm, 95.0 % after 20 s"


@pytest.mark.parametrize(
    "own",
    [
        {"go": "b"},
        {"go": "a", "machine": ELSEWHERE},
        {"go": "b", "machine": ELSEWHERE},
        {},
    ],
    ids=["later", "elsewhere", "later and elsewhere", "before goes had names"],
)
def test_what_was_not_measured_beside_the_champion_does_not_take_its_place(own, race):
    reign(race, "m3d")
    method, why = choose(race, entry("m3d", 97.0, go="a"), entry("dm", 90.0, go="a"), entry("idm", 99.0, **own))
    assert method == "m3d"
    assert "of 3 methods; next dm, 90.0 % after 1 min; better in another go idm, 99.0 % after 1 min" in why


def test_what_beats_the_champion_in_one_go_takes_its_place(race):
    reign(race, "m3d")
    method, why = choose(race, entry("m3d", 97.0, go="b"), entry("dm", 99.5, go="a"), entry("idm", 99.0, go="b"))
    assert method == "idm"
    assert why.endswith("; next m3d, 97.0 % after 1 min; better in another go dm, 99.5 % after 1 min")
    assert choose(race, entry("m3d", 99.8, go="c"), entry("idm", 99.0, go="b"))[0] == "idm"  # which now reigns
    assert choose(race, entry("m3d", 99.8, go="c"), entry("idm", 99.0, go="c"))[0] == "m3d"


def test_a_go_without_a_name_is_that_of_its_commit(race):
    reign(race, "m3d")
    later = entry("dm", 98.0, commit="2")
    assert choose(race, entry("m3d", 97.0, commit="1"), later)[0] == "m3d"
    assert choose(race, entry("m3d", 97.0, commit="2"), later)[0] == "dm"


def test_a_champion_without_an_entry_stays(race):
    reign(race, "m3d")
    assert choose(race, entry("dm", 99.0, go="a"), entry("idm", 90.0, go="a")) == ("m3d", "it was before")


def test_a_race_with_nobody_to_compare_with_has_no_winner(race):
    assert choose(race, entry("dm", 99.0, go="a"), entry("idm", 90.0, go="b")) == (None, None)
    method, why = choose(race, entry("dm", 99.0, go="a"), entry("idm", 90.0, go="b"), entry("m3d", 80.0, go="b"))
    assert method == "idm" and "better in another go dm, 99.0 %" in why


@pytest.mark.parametrize(("seconds", "winner"), [(59.0, "m3d"), (30.0, "dm")])
def test_a_winner_gives_way_only_to_half_its_time(seconds, winner, race):
    ran = dict.fromkeys(list_names(), (50.0, 0.0)) | {"m3d": (97.4, 60.0), "dm": (97.0, seconds)}
    assert choose(race, *(entry(method, right, seconds=took) for method, (right, took) in ran.items()))[0] == winner


@pytest.mark.parametrize(("seconds", "protocol"), [((1.0, 3.0), "quick"), ((1.0,), "dm")])
def test_a_race_takes_no_other_budgets_or_protocol(seconds, protocol, race):
    found = [{"method": "dm", "budget": 1.0}, {"method": "random", "budget": 0.0}]
    race.write_json(race.RESULTS / "digits-ipc1.json", {"protocol": "quick", "found": found})
    with pytest.raises(SystemExit, match=r"has a race by quick with \[1.0\] seconds"):
        race.main("digits", seconds=seconds, protocol=protocol)


def test_what_is_entered_in_one_call_is_one_go(race, monkeypatch):
    """And what is there already is left alone, or replaced where it is measured again."""
    monkeypatch.setattr(race, "picture", lambda record, out: None)
    monkeypatch.setattr(race, "enter", lambda task, method, *settings: [entry(method, 90.0, go=settings[-1])])
    race.main("digits", only=("dm", "m3d"), seconds=(60.0,))
    race.main("digits", only=("m3d", "idm"), seconds=(60.0,))
    path = race.RESULTS / "digits-ipc1.json"
    first = {own["method"]: own["go"] for own in race.read_json(path)["found"]}
    assert list(first) == ["dm", "m3d", "idm"] and first["dm"] == first["m3d"] != first["idm"]
    race.main("digits", only=("m3d",), seconds=(60.0,), again=True)
    found = race.read_json(path)["found"]
    assert [own["method"] for own in found] == ["dm", "idm", "m3d"] and found[-1]["go"] not in first.values()


def test_a_method_whose_result_is_a_generator_is_not_entered(race):
    assert "gan-latents" in race.list_missing([]) and "dim" not in race.list_missing([])
