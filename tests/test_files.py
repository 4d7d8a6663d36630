"""Files are either whole or not there, and what is damaged is named."""

from pathlib import Path

import pytest
import torch

from attar.files import cache_folder, read_json, read_tensors, sweep, write_json, write_tensors


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ATTAR_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/attar"),
        ({"HOME": "/c"}, "/c/.cache/attar"),
        ({"ATTAR_CACHE": "~/d", "HOME": "/c"}, "/c/d"),
    ],
)
def test_cache_folder(monkeypatch, variables, folder):
    for name in ("ATTAR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_damaged_tensors_are_named(tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, {"images": torch.rand(2, 1, 4, 4)}, {"factor": 1})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    truncated = [whole[:n] for n in (0, 5, 8, header // 2, header, len(whole) - 1)]
    garbage = [
        b"nonsense",
        b"nonsense" * 50,
        whole[:8] + b"x" * (len(whole) - 8),
        whole.replace(b"F32", b"F33"),
        whole.replace(b": 1}", b": ?}"),
    ]
    for damaged in truncated + garbage:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"some.safetensors is damaged"):
            read_tensors(path)


def test_leftovers_of_killed_writes_are_swept_and_nothing_else(tmp_path):
    ours = {"run.json", ".hidden.part", ".part", "images.1.part"}
    for name in (*ours, ".checkpoint.safetensors.123.part", ".run.json.7.part"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == ours


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]
