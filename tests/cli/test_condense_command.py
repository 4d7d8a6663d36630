"""The commands as a user types them: what they print, where they write, how they end."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import attar
from attar.cli import main as cli
from attar.cli.folders import say_how_to_resume
from attar.cli.listing import LISTS
from attar.files import read_tensors
from attar.runs.condense import lock_folder
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import read_metrics
from attar.training.protocol import PROTOCOLS

FAST = ["--method", "m3d", "--set", "updates=12", "--set", "batch_real=8", "--set", "ipm=2"]


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "quick", dataclasses.replace(PROTOCOLS["quick"], steps=20))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def attar_command(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["attar", *map(str, words)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def refused(monkeypatch, capsys, *words: str) -> str:
    """The one sentence of a command that exits 2."""
    assert attar_command(monkeypatch, *words) == 2
    out, err = capsys.readouterr()
    sentences = [line for line in err.splitlines() if line.startswith("attar: ")]
    assert len(sentences) == 1 and "Traceback" not in err and not out
    return sentences[0]


def test_condense_evaluate_report(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "2", *FAST) == 0
    folder = here / "runs" / "digits-m3d-ipc2-seed0"
    assert "20 images, 5.3 kB (8 bit: 1.3 kB), in runs/digits-m3d-ipc2-seed0/" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md",
        "condensed.safetensors",
        "contact.png",
        "images",
        "metrics.jsonl",
        "recipe.json",
        "run.json",
    }
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 12

    assert attar_command(monkeypatch, "evaluate", folder, "--protocol", "quick", "--seeds", "2") == 0
    assert attar_command(monkeypatch, "evaluate", folder, "--protocol", "quick", "--seeds", "1", "--eight-bit") == 0
    table = capsys.readouterr().out
    assert "digits" in table and "quick" in table and "m3d (8 bit)" in table
    rows = json.loads((folder / "rows.json").read_text())
    assert [(row["seed"], row["eight_bit"]) for row in rows] == [(0, False), (1, False), (0, True)]

    assert attar_command(monkeypatch, "report", folder) == 0
    assert (folder / "report.html").stat().st_size > 10_000


def test_compare_reuses_what_is_there(here, monkeypatch, capsys):
    words = [
        "compare",
        "digits",
        "--methods",
        "random",
        "herding",
        "--ipc",
        "1",
        "2",
        "--seeds",
        "1",
        "--draws",
        "2",
        "--protocol",
        "quick",
    ]
    words += ["--network", "mlp", "--out", "all"]
    monkeypatch.setattr("attar.methods.selection.herding.Herding.features", "pixels")
    assert attar_command(monkeypatch, *words) == 0
    assert "report: all/report.html" in capsys.readouterr().out
    stamp = (here / "all" / "random-ipc1-seed0" / "recipe.json").stat().st_mtime_ns
    assert attar_command(monkeypatch, *words) == 0
    assert (here / "all" / "random-ipc1-seed0" / "recipe.json").stat().st_mtime_ns == stamp
    assert len(json.loads((here / "all" / "rows.json").read_text())) == 8


def test_recipes_are_listed_at_every_budget_that_has_values_of_its_own():
    lines = list(LISTS["recipes"]())
    first = [name for name, _ in lines].index("dance/cifar10") + 1
    told = {
        name.strip(): [weight for weight in ("100.0", "10.0") if f"calibration {weight} " in about]
        for name, about in lines[first : first + 3]
    }
    assert told == {"at 1": ["100.0"], "at 2": ["10.0"], "at 10, 50": []}


@pytest.mark.parametrize(
    "what, word",
    [
        ("methods", "m3d"),
        ("datasets", "cifar10"),
        ("networks", "convnet"),
        ("protocols", "idc"),
        ("recipes", "m3d/mnist"),
    ],
)
def test_list(what, word, monkeypatch, capsys):
    assert attar_command(monkeypatch, "list", what) == 0
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["condense", "digit"], "unknown data set 'digit', did you mean 'digits'? known: digits, mnist"),
        (
            ["condense", "digits", "--method", "m3"],
            "unknown method 'm3', did you mean 'm3d'? known: cafe, dance, dm, ",
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
        (["condense", "digits", "--set", "updates"], "a setting is written key=value, not 'updates'"),
        (["condense", "digits", "--network", "convnt"], "unknown network 'convnt', did you mean 'convnet'?"),
        (["condense", "digits", "--as", "mnst"], "unknown recipe 'mnst', did you mean 'mnist'?"),
        (["condense", "digits", "--device", "toaster"], "unknown device 'toaster'; known: auto, cpu, cuda"),
        (["condense", "digits", "--method", "random", "--ipc", "9999"], "fewer than the 9999 that this budget needs"),
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
    assert "what was condensed is mine, no known data set: say where it lies" in refused(
        monkeypatch, capsys, "evaluate", "a"
    )
    assert (
        attar_command(monkeypatch, "evaluate", "a", "--data", "npz:mine.npz", "--protocol", "quick", "--seeds", "1")
        == 0
    )


def test_a_folder_of_ones_own_is_left_alone(here, monkeypatch, capsys):
    (here / "mine" / "images").mkdir(parents=True)
    (here / "mine" / "README.md").write_text("my words")
    for more in ([], ["--overwrite"]):
        sentence = refused(
            monkeypatch, capsys, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "mine", *more
        )
        assert "mine holds files that are no run's" in sentence
    assert (here / "mine" / "README.md").read_text() == "my words"


def test_nothing_is_overwritten_unasked(here, monkeypatch, capsys):
    words = ["condense", "digits", "--method", "random", "--ipc", "1"]
    assert attar_command(monkeypatch, *words, "--out", "a") == 0
    capsys.readouterr()
    assert "already holds a result: --overwrite" in refused(monkeypatch, capsys, *words, "--out", "a")
    assert attar_command(monkeypatch, *words, "--out", "a", "--resume") == 0
    assert attar_command(monkeypatch, *words, "--seed", "1", "--out", "a", "--overwrite") == 0
    assert attar.load("a").provenance["seed"] == 1
    capsys.readouterr()
    assert "holds a run with seed = 1, not 0" in refused(monkeypatch, capsys, *words, "--out", "a", "--resume")
    for name in ("digits-random-ipc1-seed0", "digits-random-ipc1-seed0-2"):
        assert attar_command(monkeypatch, *words) == 0
        assert attar.load(here / "runs" / name).ipc == 1


def test_a_full_disk_is_said_in_one_sentence(here, monkeypatch, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def full(*_):
        with Path("/dev/full").open("wb", 0) as device:
            device.write(b"x")

    monkeypatch.setattr("attar.files.save_file", full)
    assert "No space left on device" in refused(
        monkeypatch, capsys, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "a"
    )
    assert not (here / "a" / "recipe.json").exists()


def interrupted(monkeypatch, *words: str) -> None:
    """Ctrl-C at the seventh update."""

    def stop(self, done, total, loss):
        if done == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("attar.cli.main.progress.Progress.__call__", stop)
        assert attar_command(patch, *words) == 130


def test_a_damaged_checkpoint_is_named_and_leftovers_of_killed_writes_are_removed(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    checkpoint, leftover = here / "a" / CHECKPOINT, here / "a" / f".{CHECKPOINT}.123.part"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    leftover.touch()
    assert f"a/{CHECKPOINT} is damaged" in refused(monkeypatch, capsys, *words, "--resume")
    assert not leftover.exists()
    leftover.touch()
    assert attar_command(monkeypatch, *words, "--overwrite") == 0
    assert not leftover.exists()


def test_two_processes_do_not_share_a_folder(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    left = contents(here / "a")
    with lock_folder(here / "a"):
        for more in ("--resume", "--overwrite"):
            assert "another process is at work in a" in refused(monkeypatch, capsys, *words, more)
    assert contents(here / "a") == left
    assert attar_command(monkeypatch, *words, "--resume") == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_refused_costs_nothing(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "1", *FAST, "--out", "a") == 0
    assert attar_command(monkeypatch, "evaluate", "a", "--protocol", "quick", "--seeds", "1") == 0
    left = contents(here / "a")
    capsys.readouterr()
    for words, told in (
        (["--ipc", "1000"], "fewer than the 1000"),
        (["--ipc", "1", "--set", "augment=bogus"], "bogus"),
    ):
        assert told in refused(monkeypatch, capsys, "condense", "digits", *FAST, *words, "--out", "a", "--overwrite")
        assert contents(here / "a") == left
        assert told in refused(monkeypatch, capsys, "condense", "digits", *FAST, *words, "--out", "b")
        assert not (here / "b").exists()


def test_what_differs_is_named(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    assert "a holds a run with updates = 12, not 13" in refused(
        monkeypatch, capsys, *words, "--set", "updates=13", "--resume"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.jsonl", b"5\n"), ("metrics.jsonl", b"\xff\n"), ("run.json", b'{"format": 1}'), (CHECKPOINT, None)],
)
def test_what_is_no_run_is_named(name, content, here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    if content is None:
        assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "b") == 0
        content = (here / "b" / "condensed.safetensors").read_bytes()
    (here / "a" / name).write_bytes(content)
    capsys.readouterr()
    assert f"a/{name} " in refused(monkeypatch, capsys, *words, "--resume")


@pytest.mark.parametrize("content", ["{", '{"my": "rows"}'])
def test_rows_that_cannot_be_joined_are_refused_before_anything_is_trained(content, here, monkeypatch, capsys):
    words = ["--protocol", "quick", "--seeds", "1"]
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "a") == 0
    capsys.readouterr()
    (here / "a" / "rows.json").write_text(content)
    monkeypatch.setattr("attar.evaluation.evaluate.execute", None)
    monkeypatch.setattr("attar.runs.compare.condense", None)
    assert "a/rows.json" in refused(monkeypatch, capsys, "evaluate", "a", *words)
    assert "a/rows.json" in refused(
        monkeypatch, capsys, "compare", "digits", "--methods", "random", *words, "--out", "a"
    )
    (here / "mine").mkdir()
    (here / "mine" / "report.html").write_text("my words")
    assert "mine holds files that are no run's" in refused(
        monkeypatch, capsys, "compare", "digits", *words, "--out", "mine"
    )


def test_a_report_is_of_its_own_data(here, monkeypatch, capsys):
    np.savez("mine.npz", x=np.random.default_rng(0).random((40, 8, 8)), y=np.arange(40) % 2)
    assert attar_command(monkeypatch, "condense", "npz:mine.npz", "--method", "random", "--ipc", "1", "--out", "a") == 0
    capsys.readouterr()
    assert "the set's classes 0, 1 are not those of digits" in refused(
        monkeypatch, capsys, "report", "a", "--data", "digits"
    )


def test_a_network_that_cannot_be_kept_is_used_all_the_same(here, monkeypatch, caplog):
    (here / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(here / "file"))
    assert (
        attar_command(
            monkeypatch, "condense", "digits", "--method", "herding", "--set", "epochs=1", "--ipc", "1", "--out", "a"
        )
        == 0
    )
    assert "a trained network cannot be kept" in caplog.text


def test_who_reads_no_further_is_not_told(here):
    command = [sys.executable, "-m", "attar.cli", "list", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert not process.stderr.read() and process.wait() == 0


def test_another_engine_asks(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words, "--precision", "fp32")
    err = capsys.readouterr().err
    assert "attar condense digits --ipc 1" in err and "--precision fp32 --resume" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    sentence = refused(monkeypatch, capsys, *words, "--precision", "bf16", "--resume")
    assert "precision fp32 → bf16" in sentence and "its bits will differ" in sentence
    assert "holds an unfinished run: --resume" in refused(monkeypatch, capsys, *words)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, code in (("", 2), ("yes", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert attar_command(monkeypatch, *words, "--precision", "bf16", "--resume") == code
    engines = [attar.load("a").provenance[name]["precision"] for name in ("begun_on", "engine")]
    assert engines == ["fp32", "bf16"]


def test_compare_goes_on_elsewhere_where_asked(here, monkeypatch, capsys):
    words = [
        "compare",
        "digits",
        "--methods",
        "m3d",
        "--ipc",
        "1",
        "--protocol",
        "quick",
        "--seeds",
        "1",
        "--out",
        "all",
    ]
    words += ["--network", "mlp"]
    interrupted(monkeypatch, *words, "--precision", "bf16")
    capsys.readouterr()
    sentence = refused(monkeypatch, capsys, *words, "--precision", "fp32")
    assert "precision bf16 → fp32" in sentence and "--anyway goes on" in sentence
    assert attar_command(monkeypatch, *words, "--precision", "fp32", "--anyway") == 0


@pytest.mark.parametrize(
    "typed, line",
    [
        ("condense digits --overwrite", "condense digits --resume --out runs/a"),
        ("condense digits --out=b", "condense digits --out=b --resume"),
        ("compare digits --out b", "compare digits --out b"),
    ],
)
def test_what_to_type_after_an_interruption(typed, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["attar", *typed.split()])
    with pytest.raises(SystemExit, match="130"), say_how_to_resume(Path("runs/a")):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith(f"go on with:\n  attar {line}\n")


def process(folder, *words, **options):
    code = (
        "import attar.cli, attar.optimise, signal; attar.optimise.CHECKPOINT_EVERY = 0.1; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it, and so do their children
        "attar.cli.main.main()"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "condense",
        "digits",
        "--method",
        "m3d",
        "--ipc",
        "1",
        "--out",
        str(folder),
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def lines(path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_of_another_version_is_refused(here, monkeypatch, capsys):
    words = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "a"]
    (here / "a").mkdir()
    (here / "a" / "run.json").write_text('{"format": 0}')
    assert "has format 0; this attar reads format 1" in refused(monkeypatch, capsys, *words, "--resume")


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(tmp_path):
    """A real `kill -9`, twice, against a run that nobody disturbed."""
    words = ["--set", "updates=90", "--set", "batch_real=16", "--device", "cpu", "--precision", "fp32"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = process(whole, *words)
    undisturbed.communicate(timeout=120)
    for _ in range(2):
        had = lines(parts / "metrics.jsonl")
        victim = process(parts, *words, *(["--resume"] if parts.exists() else []))
        wait_for(lambda had=had: lines(parts / "metrics.jsonl") >= had + 15 and (parts / CHECKPOINT).exists())
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        assert 0 < read_tensors(parts / CHECKPOINT)[1]["done"] < 90
        with pytest.raises(ValueError, match="unfinished run"):
            attar.load(parts)
    last = process(parts, *words, "--resume")
    last.communicate(timeout=120)
    assert undisturbed.returncode == last.returncode == 0
    a, b = attar.load(whole), attar.load(parts)
    assert torch.equal(a.images, b.images)
    losses = [
        [json.loads(line)["loss"] for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (whole, parts)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 90
    seconds = [entry["seconds"] for entry in read_metrics(parts)]
    assert seconds == sorted(seconds) and b.provenance["seconds"] >= seconds[-1]


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    eagerly = ["--compile", "off"]  # so many updates would be compiled first
    running = process(tmp_path / "run", "--set", "updates=100000", "--set", "batch_real=16", *eagerly)
    wait_for(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 20)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "go on with:\n  attar condense digits" in err and "Traceback" not in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_help_is_quick_because_it_imports_no_torch():
    code = "import sys; sys.argv = ['attar', '--help']\nfrom attar import cli\ntry: cli.main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("usage: attar") and done.stdout.endswith("False\n")


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "1", "--dry-run", "--device", "cpu", *FAST) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == ["work", "time", "memory", "disk"]
    assert not list(tmp_path.iterdir())
