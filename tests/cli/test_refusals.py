"""Bad input gets one sentence and exit code 2, before anything is written or trained."""

import numpy as np
import pytest
from typed import attar_command, enter, refused, shorten_quick

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["condense", "digit"], "unknown data set 'digit', did you mean 'digits'? known: digits, mnist"),
        (
            ["condense", "digits", "--method", "m3"],
            "unknown method 'm3', did you mean 'm3d'? known: cafe, dance, datm, dc, discrepancy, ",
        ),
        (
            ["condense", "digits", "--ipc", "0"],
            "the budget must be a whole number of images per class, at least 1, not 0",
        ),
        (
            ["condense", "digits", "--method", "m3d", "--set", "lrr=1"],
            "unknown hyper-parameter of M3D 'lrr', did you mean 'lr'?",
        ),
        (["condense", "digits", "--method", "m3d", "--set", "updates=many"], "updates must be of type int, not 'many'"),
        (["condense", "digits", "--method", "m3d", "--set", "seed=1"], "unknown hyper-parameter of M3D 'seed'"),
        (
            ["condense", "digits", "--method", "m3d", "--set", "discrepancy=energy"],
            "M3D no longer has the hyper-parameter 'discrepancy': use --method discrepancy",
        ),
        (
            ["condense", "digits", "--method", "idm", "--set", "networks=3"],
            "IDM no longer has the hyper-parameter 'networks': an update sees one network",
        ),
        (
            ["condense", "digits", "--method", "discrepancy", "--set", "discrepancy=enegy"],
            "unknown value for discrepancy 'enegy', did you mean 'energy'?",
        ),
        (["condense", "digits", "--set", "updates"], "a setting is written key=value, not 'updates'"),
        (["condense", "digits", "--network", "convnt"], "unknown network 'convnt', did you mean 'convnet'?"),
        (["condense", "digits", "--network", "vgg11"], "VGG-11 takes images of at least 32 pixels a side"),
        (["condense", "digits", "--as", "mnst"], "unknown recipe 'mnst', did you mean 'mnist'?"),
        (["condense", "digits", "--device", "toaster"], "unknown device 'toaster'; known: auto, cpu, cuda"),
        (["condense", "digits", "--method", "random", "--ipc", "9999"], "fewer than the 9999 per class"),
        (
            ["condense", "digits", "--method", "support-vectors", "--ipc", "3"],
            "support-vectors decides how many images it keeps: leave ipc out, not 3",
        ),
        (["condense", "digits", "--minutes", "0"], "minutes must be a number above 0, not 0"),
        (["condense", "digits", "--method", "random", "--minutes", "5"], "but Random makes none"),
        (["condense", "digits", "--resume", "--out", "nowhere"], "nothing to resume in nowhere: no run.json"),
        (["condense", "npz:missing.npz"], "no such file: missing.npz"),
        (["condense", "mnist", "--root", "nowhere"], "no MNIST in nowhere: looked for"),
        (["evaluate", "nowhere"], "nowhere holds no condensed set"),
        (["condense", "digits", "--method", "m3d", "--set", "momentum=1"], "momentum must be below 1, not 1.0"),
        (["condense", "digits", "--method", "m3d", "--set", "factor=20"], "factor 20 does not suit a side of 8 pixels"),
        (["condense", "digits", "--device", "mps"], "unknown device 'mps'; known: auto, cpu, cuda"),
        (["condense", "digits", "--device", "cuda:999999999999"], "unknown device 'cuda:999999999999'"),
        (["condense", "digits", "--method", "cafe", "--set", "momentum=1.5"], "momentum must be below 1, not 1.5"),
        (["compare", "digits", "--draws", "0"], "draws must be at least 1, not 0"),
        (["compare", "digits", "--ipc", "1", "0"], "ipc must be at least 1, not 0"),
        (["compare", "digits", "--methods", "--ipc", "1"], "at least one method and one budget"),
        (["evaluate"], "name the folder of at least one run"),
        (["evaluate", "--data", "digits"], "evaluation needs at least one set"),
        (["report", "--data", "digits"], "name the folder of at least one run"),
        (["report", "nowhere"], "nowhere holds no condensed set"),
        (["compare", "digits", "--methods", "m3d", "rndom"], "unknown method 'rndom', did you mean 'random'?"),
        (["compare", "digits", "--protocol", "quik"], "unknown protocol 'quik', did you mean 'quick'?"),
    ],
)
def test_bad_input_gets_one_sentence(here, words, sentence, monkeypatch, capsys):
    assert sentence in refused(monkeypatch, capsys, *words)
    assert not [path for path in here.rglob("*") if path.is_file()] and not list(here.glob("runs/*"))


def test_bad_arrays_get_one_sentence(here, monkeypatch, capsys):
    x, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    x[3, 0, 0] = np.nan
    np.savez("nan.npz", x=x, y=y)
    assert "NaN" in refused(monkeypatch, capsys, "condense", "npz:nan.npz")
    np.savez("one.npz", x=np.zeros((9, 8, 8)), y=np.zeros(9, int))
    assert "at least two classes" in refused(monkeypatch, capsys, "condense", "npz:one.npz")
    np.savez("short.npz", x=np.zeros((9, 8, 8)), y=np.arange(8) % 2)
    assert "9 images, but 8 labels" in refused(monkeypatch, capsys, "condense", "npz:short.npz")


def test_data_of_ones_own_must_be_named_to_evaluate(here, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    np.savez("mine.npz", x=rng.random((40, 8, 8)), y=np.arange(40) % 2)
    assert attar_command(monkeypatch, "condense", "npz:mine.npz", "--method", "random", "--ipc", "1", "--out", "a") == 0
    capsys.readouterr()
    told = "the set was condensed from mine, which is no known data set: say where it lies"
    assert told in refused(monkeypatch, capsys, "evaluate", "a")
    words = ["evaluate", "a", "--data", "npz:mine.npz", "--protocol", "quick", "--seeds", "1"]
    assert attar_command(monkeypatch, *words) == 0


def test_a_report_is_of_its_own_data(here, monkeypatch, capsys):
    np.savez("mine.npz", x=np.random.default_rng(0).random((40, 8, 8)), y=np.arange(40) % 2)
    assert attar_command(monkeypatch, "condense", "npz:mine.npz", "--method", "random", "--ipc", "1", "--out", "a") == 0
    capsys.readouterr()
    sentence = refused(monkeypatch, capsys, "report", "a", "--data", "digits")
    assert "the set's classes 0, 1 are not those of digits" in sentence


@pytest.mark.parametrize("content", ["{", '{"my": "rows"}'])
def test_rows_that_cannot_be_joined_are_refused_before_anything_is_trained(content, here, monkeypatch, capsys):
    words = ["--protocol", "quick", "--seeds", "1"]
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "a") == 0
    capsys.readouterr()
    (here / "a" / "rows.json").write_text(content)
    monkeypatch.setattr("attar.evaluation.evaluate.run_pieces", None)
    monkeypatch.setattr("attar.runs.compare.condense", None)
    assert "a/rows.json" in refused(monkeypatch, capsys, "evaluate", "a", *words)
    compare = ["compare", "digits", "--methods", "random", *words, "--out"]
    assert "a/rows.json" in refused(monkeypatch, capsys, *compare, "a")
    (here / "mine").mkdir()
    (here / "mine" / "report.html").write_text("my words")
    assert "mine holds files that are no run's" in refused(monkeypatch, capsys, *compare, "mine")


def test_a_path_whose_content_says_nothing_is_told_the_prefixes(here, monkeypatch, capsys):
    (here / "mine.npz").touch()
    for path in ("mine.npz", ".", str(here)):
        told = refused(monkeypatch, capsys, "condense", path)
        assert f"{path} is a path, and its content does not say how to read it" in told
        assert f"npz:{path}" in told and (f"folder:{path}" in told) == (here / path).is_dir()


def test_nobody_is_advised_to_unpickle(here, monkeypatch, capsys):
    (here / "x.npz").write_bytes(bytes(range(256)) * 16)
    np.savez("objects.npz", x=np.array([{}, {}]), y=[0, 1])
    for name in ("x.npz", "objects.npz"):
        assert "pickle" not in refused(monkeypatch, capsys, "condense", f"npz:{name}")
