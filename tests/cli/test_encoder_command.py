"""`--encoder` on the command line: selections look at it, runs record it, reports draw by it."""

import json

import pytest
import torch
from safetensors.torch import save_file
from typed import attar_command, enter, refused, shorten_quick

import attar
from attar.methods.selection.nearest_mean import nearest
from attar.networks.by_name import make_network
from attar.rng import Rng

brief = pytest.fixture(autouse=True)(shorten_quick)
SELECT = ["condense", "digits", "--method", "nearest-mean", "--ipc", "1", "--out", "a"]
ENCODER = ["--encoder", "convnet", "--weights", "w"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, seed in (("w", 1), ("other", 2)):
        w = make_network("convnet", (1, 8, 8), 10).init(Rng.of(seed))
        save_file(w.params, tmp_path / name)
    return enter(tmp_path, monkeypatch)


def test_a_selection_looks_at_the_encoder_and_records_it(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, *SELECT, *ENCODER) == 0
    task = attar.load_data("digits").with_encoder("convnet", "w")
    chosen = []
    for c in range(10):
        members = (task.train.y == c).nonzero()[:, 0]
        features = task.encoder.features(task.encoder.weights, task.images(members))
        chosen.append(int(members[nearest(features, 1)]))
    about = json.loads((here / "a" / "run.json").read_text())
    made = attar.load("a")
    assert made.provenance["indices"] == chosen
    assert made.provenance["hyperparameters"]["features"] == "encoder"
    assert about["encoder"] == made.provenance["encoder"] == task.encoder.identity
    assert "| Encoder | convnet at 8 × 8 pixels" in (here / "a" / "README.md").read_text()
    # What another encoder would select is another run.
    capsys.readouterr()
    told = refused(monkeypatch, capsys, *SELECT, *ENCODER[:3], "other", "--resume")
    assert "holds a run with encoder = convnet at 8" in told
    # Without an encoder it is what it was: a network trained on the whole set, or what is asked for.
    assert attar_command(monkeypatch, *SELECT[:-1], "b", *ENCODER, "--set", "features=pixels") == 0
    assert "encoder" not in attar.load("b").provenance


def test_a_comparison_and_its_report_use_it(here, monkeypatch):
    words = ["--methods", "random", "nearest-mean", "--ipc", "1", "--protocol", "quick", "--seeds", "1", "--out", "c"]
    assert attar_command(monkeypatch, "compare", "digits", *words, *ENCODER) == 0
    page = (here / "c" / "report.html").read_text()
    assert "placed by the features of convnet." in page and "untrained network" not in page
    assert attar_command(monkeypatch, "report", "c", "--out", "plain.html") == 0
    assert "placed by the features of an untrained network." in (here / "plain.html").read_text()
    assert attar_command(monkeypatch, "report", "c", "--out", "drawn.html", *ENCODER) == 0
    assert "placed by the features of convnet." in (here / "drawn.html").read_text()


def test_what_cannot_be_done_is_one_sentence(here, monkeypatch, capsys):
    m3d = ["condense", "digits", "--method", "m3d", "--out", "a"]
    assert "m3d looks at no encoder: selections such as" in refused(monkeypatch, capsys, *m3d, *ENCODER)
    told = refused(monkeypatch, capsys, *SELECT, "--weights", "w")
    assert "--weights and --encoder-size are of an encoder: say which with --encoder" in told
    told = refused(monkeypatch, capsys, *SELECT, "--encoder", "convnet", "--weights", "gone")
    assert "no such file: gone" in told
    told = refused(monkeypatch, capsys, *SELECT, "--set", "features=encoder")
    assert "features=encoder needs an encoder: --encoder NAME, or task.with_encoder(NAME)" in told
    (here / "w").write_bytes(torch.arange(9).numpy().tobytes())
    assert "neither a safetensors file nor" in refused(monkeypatch, capsys, *SELECT, *ENCODER)
    assert not (here / "a").exists()
