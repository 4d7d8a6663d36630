"""Commands from end to end: what they print, where they write, how they end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typed import FAST, attar_command, enter, refused, shorten_quick

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


def test_condense_evaluate_report(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "2", *FAST) == 0
    folder = here / "runs" / "digits-m3d-ipc2-seed0"
    assert "20 images, 5.3 kB (8 bit: 1.3 kB), in runs/digits-m3d-ipc2-seed0/" in capsys.readouterr().out
    expected = "README.md condensed.safetensors contact.png images metrics.jsonl recipe.json run.json"
    assert {path.name for path in folder.iterdir()} == set(expected.split())
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 12

    assert attar_command(monkeypatch, "evaluate", folder, "--protocol", "quick", "--seeds", "2") == 0
    assert attar_command(monkeypatch, "evaluate", folder, "--protocol", "quick", "--seeds", "1", "--eight-bit") == 0
    table = capsys.readouterr().out
    assert "digits" in table and "quick" in table and "m3d (8 bit)" in table
    rows = json.loads((folder / "rows.json").read_text())["rows"]
    assert [(row["seed"], row["eight_bit"]) for row in rows] == [(0, False), (1, False), (0, True)]

    assert attar_command(monkeypatch, "report", folder) == 0
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--ipc", "1", "--dry-run", "--device", "cpu", *FAST) == 0
    said = capsys.readouterr().out
    names = ["data", "method", "work", "time", "memory", "disk", "mirror"]
    assert [line.split()[0] for line in said.splitlines()] == names
    assert "digits: 1,438 images of 10 classes" in said and "M3D, 1 per class" in said
    assert not list(here.iterdir())


def test_a_network_that_cannot_be_kept_is_used_all_the_same(here, monkeypatch, caplog):
    (here / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(here / "file"))
    words = ["condense", "digits", "--method", "herding", "--set", "epochs=1", "--ipc", "1", "--out", "a"]
    assert attar_command(monkeypatch, *words) == 0
    assert "cannot be kept for other runs" in caplog.text


def test_a_full_disk_is_said_in_one_sentence(here, monkeypatch, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def full(*_):
        with Path("/dev/full").open("wb", 0) as device:
            device.write(b"x")

    monkeypatch.setattr("attar.files.save_file", full)
    words = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "a"]
    assert "No space left on device" in refused(monkeypatch, capsys, *words)
    assert not (here / "a" / "recipe.json").exists()


def test_who_reads_no_further_is_not_told(here):
    command = [sys.executable, "-m", "attar.cli.main", "list", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert not process.stderr.read() and process.wait() == 0


def test_help_is_quick_because_it_imports_no_torch():
    code = (
        "import sys; sys.argv = ['attar', '--help']\nfrom attar.cli.main import main\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("usage: attar") and done.stdout.endswith("False\n")
