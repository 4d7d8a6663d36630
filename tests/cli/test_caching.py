"""What is kept to be faster: listed by kind, and dropped where it is Attar's alone."""

import numpy as np
import pytest
from PIL import Image
from typed import attar_command, enter

here = pytest.fixture(enter)
FILES = {
    "decoded": "mnist-0d198567b0937cc0.safetensors",
    "measured": "0d198567.json",
    "stages": "1f.safetensors",
    "experts": "3f.safetensors",
    "generators": "4f.safetensors",
    "audit": "4f.safetensors",
    "kernels": "2f.so",
}


@pytest.fixture
def cache(here, monkeypatch):
    monkeypatch.setenv("ATTAR_CACHE", str(here / "cache"))
    for i, (kind, name) in enumerate(FILES.items()):
        (here / "cache" / kind).mkdir(parents=True)
        (here / "cache" / kind / name).write_bytes(bytes(1000 * (i + 1)))
    return here / "cache"


def listed(monkeypatch, capsys) -> dict[str, list[str]]:
    assert attar_command(monkeypatch, "cache") == 0
    return {line.split()[0]: line.split()[1:5] for line in capsys.readouterr().out.splitlines()[1:]}


def test_what_is_kept_is_listed_by_kind(cache, monkeypatch, capsys):
    found = listed(monkeypatch, capsys)
    assert found == {kind: ["1", "files", f"{i}.0", "kB"] for i, kind in enumerate(FILES, 1)}
    (cache / "data" / "MNIST" / "raw").mkdir(parents=True)
    (cache / "data" / "MNIST" / "raw" / "a.gz").write_bytes(bytes(5000))
    assert listed(monkeypatch, capsys)["data"] == ["1", "files", "5.0", "kB"]


def test_an_empty_cache(here, monkeypatch, capsys):
    monkeypatch.setenv("ATTAR_CACHE", str(here / "none"))
    assert listed(monkeypatch, capsys) == {kind: ["0", "files", "0", "B"] for kind in FILES}
    assert attar_command(monkeypatch, "cache", "--drop", "all") == 0 and not (here / "none").exists()


@pytest.mark.parametrize("kinds", [["stages"], ["decoded", "kernels"], ["all"], ["all", "stages"]])
def test_kinds_are_dropped(cache, monkeypatch, capsys, kinds):
    wanted = set(FILES) if "all" in kinds else set(kinds)
    assert attar_command(monkeypatch, "cache", "--drop", *kinds) == 0
    assert {line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines()} == wanted
    assert {kind for kind, name in FILES.items() if not (cache / kind / name).exists()} == wanted


def test_nothing_of_others_is_dropped(cache, monkeypatch):
    kept = [
        "data/mine.npz",
        "datasets/a.arrow",
        "stages/notes.txt",
        "stages/.1f.lock",
        "decoded/folder/a.json",
        "a.json",
    ]
    for name in kept:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).touch()
    assert attar_command(monkeypatch, "cache", "--drop", "all") == 0
    assert all((cache / name).exists() for name in kept)


def test_what_is_no_kind_is_refused(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "cache", "--drop", "data") == 2


def test_what_was_dropped_is_made_anew(here, monkeypatch, capsys):
    monkeypatch.setenv("ATTAR_CACHE", str(here / "cache"))
    for c in ("cats", "dogs"):
        (here / "photos" / c).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(here / "photos" / c / f"{i}.png")
    for _ in range(2):
        words = ["condense", "photos", "--method", "random", "--ipc", "1", "--out", "run", "--overwrite"]
        assert attar_command(monkeypatch, *words) == 0
        capsys.readouterr()
        assert listed(monkeypatch, capsys)["decoded"][0] == "1"
        assert attar_command(monkeypatch, "cache", "--drop", "decoded") == 0
        capsys.readouterr()
        assert listed(monkeypatch, capsys)["decoded"][0] == "0"
