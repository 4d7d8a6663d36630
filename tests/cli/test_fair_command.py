"""`attar audit --fair`: groups by name, and one sentence where there are none."""

import numpy as np
from typed import attar_command, enter, refused, shorten_quick

from attar.evaluation.audits.measures import MEASURES, read_measures


def write_places(folder) -> str:
    """Two classes of two places; in the second of these they look alike."""
    rng = np.random.default_rng(0)
    arrays = {}
    for ending, n in (("", 80), ("_test", 40)):
        y, place = np.arange(n) % 2, np.arange(n) // 2 % 2
        bright = np.where(place == 0, 150 * y, 0)[:, None, None]
        arrays |= {f"x{ending}": (rng.integers(0, 100, (n, 8, 8)) + bright).astype(np.uint8), f"y{ending}": y}
        arrays[f"place{ending}"] = np.array(["sea", "land"])[place]
    np.savez(folder / "own.npz", **arrays)
    return f"npz:{folder / 'own.npz'}"


def test_groups_of_own_data_are_compared(tmp_path, monkeypatch, capsys):
    data = write_places(enter(tmp_path, monkeypatch))
    shorten_quick(monkeypatch)
    assert attar_command(monkeypatch, "condense", data, "--method", "random", "--ipc", 8, "--out", "run") == 0
    capsys.readouterr()
    fair = ["audit", "run", "--data", data, "--protocol", "quick", "--seeds", 2, "--fair"]
    assert attar_command(monkeypatch, *fair, "place") == 0
    out = capsys.readouterr().out
    assert "DEO max of a fair classifier" in out and "whole set" in out
    found = {row.name: row for row in read_measures(tmp_path / "run" / MEASURES) if row.method == "random"}
    assert found["DEO max"].value > found["DEO max of a fair classifier"].low and found["DEO max"].tested == 40
    assert "own.npz has no 'town' with the groups" in refused(monkeypatch, capsys, *fair, "town")


def test_data_without_groups_is_refused(tmp_path, monkeypatch, capsys):
    enter(tmp_path, monkeypatch)
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", 1, "--out", "run") == 0
    capsys.readouterr()
    told = refused(monkeypatch, capsys, "audit", "run", "--fair", "colour")
    assert "digits has no groups, and so none called colour" in told
