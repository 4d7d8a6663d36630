"""`--generator` on the command line: gan-latents learns its codes, and runs record it."""

import pytest
import torch
from generator_file import OWN
from safetensors.torch import save_file
from typed import attar_command, enter, refused

import attar
from attar.networks.generator import Generator

CONDENSE = ["condense", "digits", "--method", "gan-latents", "--ipc", "1", "--set", "updates=3", "--out", "a"]
GENERATOR = ["--generator", "own.py:Made", "--generator-weights", "w"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    for name, classes in (("w", 10), ("other", 7)):
        torch.manual_seed(0)
        family = Generator.of_user(f"{tmp_path}/own.py:Made", (1, 8, 8), classes)
        save_file(family.build().state_dict(), tmp_path / name)
    return enter(tmp_path, monkeypatch)


def test_codes_of_a_users_generator_are_learned_and_it_is_recorded(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, *CONDENSE, *GENERATOR) == 0
    made = attar.load("a")
    assert made.decoder.codes.shape == (10, 5) and made.decoder.weights.keys() == {
        "label.weight",
        "last.weight",
        "last.bias",
    }
    assert made.provenance["generator"].startswith("Made-")
    assert "trained first" not in capsys.readouterr().err  # no generator of Attar's own
    told = refused(monkeypatch, capsys, *CONDENSE, "--resume")
    assert "holds a run with generator = Made-" in told and told.strip().endswith("not own")


def test_what_cannot_be_done_is_one_sentence(here, monkeypatch, capsys):
    dm = ["condense", "digits", "--method", "dm", "--out", "a"]
    assert "dm takes no generator: gan-latents learns codes of one" in refused(monkeypatch, capsys, *dm, *GENERATOR)
    told = refused(monkeypatch, capsys, *CONDENSE, *GENERATOR[2:])
    assert "--generator-weights is of a generator: say which with --generator" in told
    told = refused(monkeypatch, capsys, *CONDENSE, *GENERATOR[:2])
    assert "generator own.py:Made needs a file of its weights (--generator-weights)" in told
    told = refused(monkeypatch, capsys, *CONDENSE, *GENERATOR[:3], "other")
    assert "other does not hold the weights of Made-" in told and "(7, 5), and not (10, 5)" in told
    assert not (here / "a").exists()
