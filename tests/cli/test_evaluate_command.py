"""`attar evaluate --networks`: a table, and a picture beside the rows, by network."""

import json

import pytest
from typed import attar_command, enter, refused, shorten_quick

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)
JUDGE = ["--protocol", "quick", "--seeds", "1"]


@pytest.fixture
def made(here, monkeypatch, capsys):
    for seed in ("0", "1"):
        words = ["condense", "digits", "--method", "random", "--ipc", "1", "--seed", seed, "--out", f"a{seed}"]
        assert attar_command(monkeypatch, *words) == 0
    capsys.readouterr()
    return here


def test_networks_side_by_side(made, monkeypatch, capsys):
    assert attar_command(monkeypatch, "evaluate", "a0", "a1", "--networks", "mlp", "convnet-bn", *JUDGE) == 0
    told = capsys.readouterr().out
    head = next(line for line in told.splitlines() if line.strip().startswith("accuracy by network"))
    assert head.split()[3:] == ["MLP", "ConvNet-BN"] and "random, 1 per class" in told
    for run in ("a0", "a1"):
        assert f"accuracy by network: {run}/networks.png\n" in told and (made / run / "networks.png").stat().st_size
        rows = json.loads((made / run / "rows.json").read_text())["rows"]
        assert [row["network"] for row in rows] == ["MLP", "ConvNet-BN"]
    # A report shows them too, and another set in the folder leaves no picture of the one before.
    assert attar_command(monkeypatch, "report", "a0") == 0
    assert "Accuracy by network" in (made / "a0" / "report.html").read_text()
    words = ["condense", "digits", "--method", "random", "--ipc", "2", "--out", "a0", "--overwrite"]
    assert attar_command(monkeypatch, *words) == 0
    assert not (made / "a0" / "networks.png").exists()


def test_one_network_draws_nothing_and_rows_may_lie_elsewhere(made, monkeypatch, capsys):
    assert attar_command(monkeypatch, "evaluate", "a0", "--network", "mlp", "--out", "b", *JUDGE) == 0
    told = capsys.readouterr().out
    assert "accuracy by network" not in told and [path.name for path in (made / "b").iterdir()] == ["rows.json"]
    # What another command added is drawn with it.
    assert attar_command(monkeypatch, "evaluate", "a0", "--network", "convnet-bn", "--out", "b", *JUDGE) == 0
    assert "accuracy by network: b/networks.png\n" in capsys.readouterr().out


def test_one_way_to_say_which_network(made, monkeypatch, capsys):
    told = refused(monkeypatch, capsys, "evaluate", "a0", "--network", "mlp", "--networks", "mlp", *JUDGE)
    assert "network and networks both say what is trained: leave out one of them" in told


def test_networks_are_listed_with_their_names(monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", "networks") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"convnet", "lenet", "alexnet", "vgg11", "vgg11-bn", "resnet18", "resnet18-bn", "resnetap10"} < {*names}
    assert names[-2:] == ["timm:NAME", "file.py:Name"]
